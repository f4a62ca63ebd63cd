//! A session written as a LLaMA-Factory recipe, and made again from it.

use std::path::Path;

use serde_json::Value;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_commands::RecipeTask;
use tunebook_commands::page::Page;
use tunebook_commands::text;

use crate::fixtures::fixture;

#[test]
fn a_session_and_its_recipe_train_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (by_hand, again) = (folder.path().join("by_hand"), folder.path().join("again"));
    let recipe = folder.path().join("recipe.yaml");
    let host = Host::start(Lang::En).unwrap();
    for line in [
        format!("load {}", fixture("tiny").display()),
        format!("data creatures dataset_dir={} cutoff_len=512 max_samples=8", fixture("train").display()),
        "lora rank=4 dropout=0.1".to_string(),
        format!("set lr=1e-3 epochs=2 batch=2 accum=2 warmup_steps=1 logging_steps=1 output_dir={}", by_hand.display()),
        format!("recipe save {}", recipe.display()),
        "train".to_string(),
    ] {
        carry_out(&host, &line).unwrap();
    }
    let written = std::fs::read_to_string(&recipe).unwrap();
    assert!(written.contains("learning_rate: 0.001\n") && written.contains("lora_rank: 4\n"), "{written}");

    // What is trained already goes, and a part of the recipe is changed before it is followed.
    std::fs::write(&recipe, written.replace(by_hand.to_str().unwrap(), again.to_str().unwrap())).unwrap();
    let shown = carry_out(&host, &format!("recipe load {}", recipe.display())).unwrap().join("\n");
    assert!(shown.contains("414,288 parameters") && shown.contains("8 samples") && shown.contains("rank 4"), "{shown}");
    carry_out(&host, "train").unwrap();
    let (expected, found) = (losses(&by_hand), losses(&again));
    assert_eq!(expected.len(), 4);
    assert_eq!(found, expected);

    let shown = carry_out(&host, "recipe show").unwrap().join("\n");
    let yaml = std::fs::read_to_string(&recipe).unwrap();
    assert!(shown.starts_with(&yaml), "{shown}");
    assert!(shown.contains("llamafactory-cli train \\\n    --stage sft \\\n    --do_train True \\\n"), "{shown}");
}

#[test]
fn a_recipe_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.yaml");
    let host = Host::start(Lang::En).unwrap();
    carry_out(&host, &format!("load {} dtype=float32", fixture("tiny").display())).unwrap();
    carry_out(&host, "lora mine rank=2").unwrap();
    let before = carry_out(&host, "status").unwrap();
    let load = format!("recipe load {}", recipe.display());
    for (text, expected) in [
        ("stage: kto\nmodel_name_or_path: tiny\nlora_rnk: 8\n", "the recipe cannot be followed:\n  `stage: kto`"),
        ("model_name_or_path: nowhere/at/all\n", "there is no folder nowhere/at/all"),
        (&format!("model_name_or_path: {}\ndataset: none_such\n", fixture("tiny").display()), "dataset_info.json"),
    ] {
        std::fs::write(&recipe, text).unwrap();
        let error = carry_out(&host, &load).unwrap_err();
        assert!(error.starts_with(expected) || error.contains(expected), "{error}");
        let resident = |lines: &[String]| lines[0].lines().take(5).map(str::to_string).collect::<Vec<_>>();
        assert_eq!(resident(&carry_out(&host, "status").unwrap()), resident(&before));
        assert_eq!(carry_out(&host, "show lora_rank").unwrap(), ["lora_rank = 2"]);
    }
}

/// LLaMA-Factory's arguments of a run on the tiny checkpoint, as its web page would write them, and some more.
fn arguments(output: &Path, more: &[(&str, &str)]) -> Vec<String> {
    let (tiny, train) = (fixture("tiny"), fixture("train"));
    let common = [
        ("stage", "sft"),
        ("model_name_or_path", tiny.to_str().unwrap()),
        ("finetuning_type", "lora"),
        ("template", "qwen2_vl"),
        ("dataset_dir", train.to_str().unwrap()),
        ("cutoff_len", "512"),
        ("max_samples", "4"),
        ("output_dir", output.to_str().unwrap()),
    ];
    common.iter().chain(more).flat_map(|(key, value)| [format!("--{key}"), value.to_string()]).collect()
}

#[test]
fn a_recipe_that_only_predicts_writes_what_llamafactory_writes() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = fixture("train/cosine/adapter");
    let predicting = [
        ("do_predict", "True"),
        ("predict_with_generate", "True"),
        ("eval_dataset", "creatures"),
        ("max_new_tokens", "4"),
        ("adapter_name_or_path", adapter.to_str().unwrap()),
    ];
    let host = Host::start(Lang::En).unwrap();
    let shown = follow(host.recipe(RecipeTask::Train, arguments(folder.path(), &predicting))).unwrap().join("\n");
    assert!(shown.contains("creatures with adapter") && !shown.contains("samples to train on"), "{shown}");
    let text = std::fs::read_to_string(folder.path().join("generated_predictions.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reference: Value = serde_json::from_slice(&std::fs::read(fixture("evaluate/results.json")).unwrap()).unwrap();
    assert_eq!(lines.len(), 4);
    for (line, expected) in lines.iter().zip(reference["predict"]["lines"].as_array().unwrap()) {
        assert_eq!((&line["prompt"], &line["label"]), (&expected["prompt"], &expected["label"]));
    }
    assert!(folder.path().join("predict_results.json").is_file() && !folder.path().join("trainer_log.jsonl").exists());

    // Without an adapter it is the model itself that answers, as in LLaMA-Factory.
    let base = folder.path().join("base");
    let shown = follow(host.recipe(RecipeTask::Train, arguments(&base, &predicting[..4]))).unwrap().join("\n");
    assert!(shown.contains("creatures with base"), "{shown}");
}

#[test]
fn a_recipe_trains_evaluates_and_predicts_what_it_holds_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let more = [
        ("do_train", "True"),
        ("do_eval", "True"),
        ("do_predict", "True"),
        ("predict_with_generate", "True"),
        ("dataset", "creatures"),
        ("val_size", "0.5"),
        ("max_steps", "1"),
        ("max_new_tokens", "2"),
        ("report_to", "wandb"),
    ];
    let host = Host::start(Lang::En).unwrap();
    let shown = follow(host.recipe(RecipeTask::Train, arguments(&output, &more))).unwrap().join("\n");
    let place = |text: &str| shown.find(text).unwrap_or_else(|| panic!("no {text} in {shown}"));
    let places = ["2 samples to train on, 2 to evaluate on", "eval_loss", "predict", "written to"].map(place);
    assert!(places.is_sorted(), "{shown}");
    for file in ["train_results.json", "eval_results.json", "predict_results.json", "generated_predictions.jsonl"] {
        assert!(output.join(file).is_file(), "{file}");
    }
    let text = std::fs::read_to_string(output.join("generated_predictions.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn an_export_recipe_writes_what_the_verb_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (by_recipe, by_hand) = (folder.path().join("by_recipe"), folder.path().join("by_hand"));
    let adapter = fixture("train/cosine/adapter");
    let recipe = folder.path().join("merge.yaml");
    let keys = format!(
        "model_name_or_path: {}\nadapter_name_or_path: {}\ntemplate: qwen2_vl\nexport_device: cpu\nexport_legacy_format: false\n",
        fixture("tiny").display(),
        adapter.display()
    );
    std::fs::write(&recipe, keys).unwrap();
    let host = Host::start(Lang::En).unwrap();
    let arguments = |more: &[String]| [&[recipe.display().to_string()], more].concat();
    let error = follow(host.recipe(RecipeTask::Export, arguments(&[]))).unwrap_err();
    assert!(error.contains("no `export_dir`"), "{error}");
    let shown = follow(host.recipe(RecipeTask::Export, arguments(&[format!("export_dir={}", by_recipe.display())])));
    let shown = shown.unwrap().join("\n");
    assert!(shown.contains(&format!("in {}, with adapter", by_recipe.display())), "{shown}");
    for line in [
        format!("load {}", fixture("tiny").display()),
        format!("adapter load {}", adapter.display()),
        format!("export {}", by_hand.display()),
    ] {
        carry_out(&host, &line).unwrap();
    }
    let weights = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(weights(&by_recipe), weights(&by_hand));
}

#[test]
fn what_came_with_a_recipe_does_not_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.yaml");
    let adapter = fixture("train/cosine/adapter");
    let text = format!(
        "model_name_or_path: {}\ndataset_dir: {}\ndataset: creatures\neval_dataset: pairs\ncutoff_len: 512\n\
         adapter_name_or_path: {}\nlearning_rate: 3.0e-4\n",
        fixture("tiny").display(),
        fixture("train").display(),
        adapter.display()
    );
    std::fs::write(&recipe, text).unwrap();
    let host = Host::start(Lang::En).unwrap();
    carry_out(&host, &format!("recipe load {}", recipe.display())).unwrap();
    let shown = |key: &str| carry_out(&host, &format!("show {key}")).unwrap().join("");
    assert_eq!(shown("adapter_name_or_path"), format!("adapter_name_or_path = {}", adapter.display()));
    // A new adapter does not go on from that of the recipe.
    carry_out(&host, "lora fresh").unwrap();
    assert_eq!(shown("adapter_name_or_path"), "adapter_name_or_path = none");

    // Other data is not evaluated on the recipe's, wherever it lies.
    let mine = folder.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("mine.json"), r#"[{"instruction": "a", "output": "b"}]"#).unwrap();
    std::fs::write(mine.join("dataset_info.json"), r#"{"mine": {"file_name": "mine.json"}}"#).unwrap();
    carry_out(&host, &format!("data mine dataset_dir={}", mine.display())).unwrap();
    assert_eq!(shown("eval_dataset"), "eval_dataset = none");
    // The recipe's other settings are what it was loaded for.
    assert_eq!(shown("lr"), "learning_rate = 3e-4");
}

#[test]
fn where_predictions_go_is_not_where_the_next_training_goes() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(Lang::En).unwrap();
    let (results, kept) = (folder.path().join("results"), folder.path().join("kept"));
    for line in [
        format!("load {}", fixture("tiny").display()),
        format!("data creatures dataset_dir={} cutoff_len=512 max_samples=2", fixture("train").display()),
        format!("set output_dir={} max_new_tokens=1", kept.display()),
        format!("predict output_dir={}", results.display()),
        format!("evaluate output_dir={}", results.display()),
    ] {
        carry_out(&host, &line).unwrap();
    }
    assert!(results.join("predict_results.json").is_file() && results.join("eval_results.json").is_file());
    assert_eq!(carry_out(&host, "show output_dir").unwrap(), [format!("output_dir = {}", kept.display())]);
    assert!(!kept.exists());
    assert!(carry_out(&host, "predict save_steps=5").unwrap_err().contains("set it with"));
}

#[test]
fn of_val_size_and_eval_dataset_the_one_that_is_said_last_counts() {
    let host = Host::start(Lang::En).unwrap();
    carry_out(&host, &format!("load {}", fixture("tiny").display())).unwrap();
    let data = format!("data creatures dataset_dir={} cutoff_len=512", fixture("train").display());
    carry_out(&host, &format!("{data} eval_dataset=pairs")).unwrap();
    carry_out(&host, "data creatures val_size=2").unwrap();
    assert_eq!(carry_out(&host, "show eval_dataset").unwrap(), ["eval_dataset = none"]);
    carry_out(&host, "data creatures eval_dataset=pairs").unwrap();
    assert_eq!(carry_out(&host, "show val_size").unwrap(), ["val_size = 0"]);
    assert!(
        carry_out(&host, "data creatures eval_dataset=pairs val_size=2").unwrap_err().contains("set only one of them")
    );
}

/// The outputs of a line as plain text, or what it failed with.
pub(crate) fn carry_out(host: &Host, line: &str) -> Result<Vec<String>, String> {
    follow(host.line(line))
}

fn follow(messages: impl IntoIterator<Item = Message>) -> Result<Vec<String>, String> {
    let mut outputs = Vec::new();
    for message in messages {
        match message {
            Message::Event(_) | Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
            Message::Output(output) => {
                outputs.push(text::render(&output, Page { width: 100, color: false, lang: Lang::En }))
            }
            Message::Done(result) => return result.map(|()| outputs).map_err(|error| error.to_string()),
        }
    }
    Err("no answer".to_string())
}

/// The losses of a training's log.
fn losses(folder: &Path) -> Vec<f64> {
    let log = std::fs::read_to_string(folder.join("trainer_log.jsonl")).unwrap();
    let values = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.filter_map(|value| value["loss"].as_f64()).collect()
}
