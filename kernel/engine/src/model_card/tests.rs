use serde::de::DeserializeOwned;
use serde_json::Value;
use tunebook_nn::adapter::LinearShape;
use tunebook_nn::adapter::LoraConfig;
use tunebook_nn::adapter::ModelShape;
use tunebook_nn::models::FAMILIES;

use super::*;
use crate::output::Entry;
use crate::probes::Probe;
use crate::probes::ProbeAnswer;
use crate::probes::ProbeRecord;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;
use crate::step_metrics::StepMetrics;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/model_card").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn report(name: &str, path: &Path) -> LoadReport {
    LoadReport {
        name: name.to_string(),
        path: path.to_path_buf(),
        architecture: "Qwen2_5_VLForConditionalGeneration".to_string(),
        parameters: 10,
        stored_dtype: "float32".to_string(),
        device: None,
        quantized: None,
        dtype: "float32".to_string(),
        text_layers: 1,
        vision_layers: 1,
        vocabulary: 10,
        own_head: false,
        unused: Vec::new(),
        elapsed: std::time::Duration::ZERO,
    }
}

fn adapter() -> Adapter {
    let mut shape = ModelShape::new(&FAMILIES[0].names);
    let name = "model.language_model.layers.0.self_attn.q_proj".to_string();
    shape.linears.push(LinearShape { name, rows: 6, cols: 4 });
    let config = LoraConfig { r: 2, lora_alpha: 4.0, ..LoraConfig::default() };
    Adapter::new(config, &shape, 42).unwrap()
}

/// A log of transformers.
fn training(log: &Value) -> (RunState, Vec<Entry>) {
    let (mut run, mut entries) = (RunState::default(), Vec::new());
    for entry in log.as_array().unwrap() {
        let number = |key: &str| entry[key].as_f64();
        let count = |key: &str| entry[key].as_u64().unwrap() as usize;
        let (step, epoch, tokens) = (count("step"), number("epoch").unwrap(), count("num_input_tokens_seen"));
        match number("eval_loss") {
            Some(loss) => {
                let record = EvaluationRecord {
                    step,
                    total_steps: 30,
                    loss,
                    epoch,
                    tokens,
                    elapsed: 1.0,
                    seconds: 1.5,
                    samples: 3,
                    batches: 2,
                };
                run.evaluations.push(record.clone());
                entries.push(Entry::Evaluation(record));
            }
            None => {
                let record = StepRecord {
                    step,
                    total_steps: 30,
                    metrics: StepMetrics::of_loss(number("loss").unwrap()),
                    grad_norm: 0.5,
                    learning_rate: 1e-4,
                    epoch,
                    tokens,
                    elapsed: 1.0,
                };
                run.records.push(record.clone());
                entries.push(Entry::Step(record));
            }
        }
    }
    (run, entries)
}

/// The card of a folder of this name.
fn card(name: &str, model: &LoadReport, run: &RunState, log: &[Entry], contents: Contents) -> String {
    let (adapter, settings) = (adapter(), Settings::default());
    let facts = Facts { contents, model, adapter: &adapter, run, log, data: None, settings: &settings, scores: None };
    text(Path::new(name), facts)
}

/// The metadata of a card.
fn metadata<T: DeserializeOwned>(card: &str) -> T {
    let yaml = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

#[test]
fn results_and_hyperparameters_are_listed_as_transformers_does() {
    let expected = fixture("trainer.json");
    let base = report("base", Path::new("base"));
    for case in expected["tables"].as_array().unwrap() {
        let (run, log) = training(&case["log"]);
        let card = card("out", &base, &run, &log, Contents::Adapter);
        let table = format!("### Training results\n\n{}", case["table"].as_str().unwrap());
        assert!(card.contains(&table), "{card}\n{table}");
    }
    for case in expected["results"].as_array().unwrap() {
        let (run, log) = training(&case["log"]);
        let card = card("out", &base, &run, &log, Contents::Adapter);
        let lines: Vec<_> = case["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        let lines = format!("on the evaluation set:\n{}\n", lines.join("\n"));
        assert!(card.contains(&lines), "{card}\n{lines}");
    }
    for case in expected["hyperparameters"].as_array().unwrap() {
        // What its TrainingArguments begin with.
        let mut settings = Settings::default();
        for (key, value) in [
            ("per_device_train_batch_size", "8"),
            ("per_device_eval_batch_size", "8"),
            ("gradient_accumulation_steps", "1"),
            ("lr_scheduler_type", "linear"),
        ] {
            settings.set(key, value).unwrap();
        }
        for (key, value) in case["arguments"].as_object().unwrap() {
            settings.set(key, value.as_str().unwrap_or(&value.to_string())).unwrap();
        }
        let lines = procedure::hyperparameters(&settings);
        let lines: Vec<_> = lines.iter().map(|(name, value)| format!("- {name}: {value}")).collect();
        assert_eq!(Value::from(lines), case["lines"]);
    }
}

#[test]
fn metadata_name_the_base_and_are_yaml_whatever_the_names_are() {
    let (run, log) = training(&serde_json::json!([]));
    let hub = report("Qwen/Qwen2.5-VL-3B-Instruct", Path::new("/cache/models--Qwen/snapshots/1"));
    let text = card("saves/精灵", &hub, &run, &log, Contents::Adapter);
    assert_eq!(
        metadata::<Value>(&text),
        serde_json::json!({
            "library_name": "peft",
            "license": "other",
            "base_model": "Qwen/Qwen2.5-VL-3B-Instruct",
            "pipeline_tag": "image-text-to-text",
            "tags": ["base_model:adapter:Qwen/Qwen2.5-VL-3B-Instruct", "lora", "transformers", "tunebook"],
            "model-index": [{"name": "精灵", "results": []}],
        })
    );
    assert!(text.contains("\n# 精灵\n") && !text.contains("/cache") && !text.contains("Training procedure"), "{text}");
    assert!(text.contains("[Qwen/Qwen2.5-VL-3B-Instruct](https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct)"));

    let whole = card("merged", &hub, &run, &log, Contents::Model);
    let found = metadata::<Value>(&whole);
    assert_eq!((&found["library_name"], &found["base_model_relation"]), (&"transformers".into(), &"finetune".into()));
    assert!(whole.contains(r#"from_pretrained("merged", dtype="auto")"#) && !whole.contains("peft"), "{whole}");

    let odd = "/home/somebody/it's `a` \"b\": [x](y) |\n---\n<b>";
    let local = report(odd, Path::new(odd));
    let text = card(odd, &local, &run, &log, Contents::Adapter);
    let found = metadata::<Value>(&text);
    let name = Path::new(odd).file_name().unwrap().to_str().unwrap();
    assert_eq!((&found["model-index"][0]["name"], &found["base_model"]), (&name.into(), &Value::Null));
    assert!(!text.contains("somebody"), "{text}");
    assert_eq!(text.lines().filter(|line| *line == "---").count(), 2, "{text}");
}

#[test]
fn answers_to_probes_are_shown_as_they_are() {
    let (mut run, log) = training(&serde_json::json!([]));
    let probe = Probe { question: "这是什么？".to_string(), images: vec!["/home/somebody/小火龙.png".into()] };
    run.probes = [(0, "a|b"), (20, "**小火龙**\n<script>")]
        .map(|(step, text)| {
            let answer =
                ProbeAnswer { number: 1, probe: probe.clone(), text: text.to_string(), before: None, new_tokens: 1 };
            ProbeRecord { step, total_steps: 20, seconds: 0.0, answers: vec![answer] }
        })
        .to_vec();
    let text = card("out", &report("base", Path::new("base")), &run, &log, Contents::Adapter);
    let row = "| 这是什么？ (小火龙.png) | a&#124;b | &#42;&#42;小火龙&#42;&#42;<br>&#60;script&#62; |\n";
    assert!(text.contains(&format!("| Question | After step 0 | After step 20 |\n|---|---|---|\n{row}")), "{text}");
}

#[test]
fn a_card_that_somebody_has_taken_over_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (run, log) = training(&serde_json::json!([]));
    let (base, adapter, settings) = (report("base", Path::new("base")), adapter(), Settings::default());
    let facts = Facts {
        contents: Contents::Adapter,
        model: &base,
        adapter: &adapter,
        run: &run,
        log: &log,
        data: None,
        settings: &settings,
        scores: None,
    };
    let path = folder.path().join(CARD);
    for _ in 0..2 {
        assert_eq!(write(folder.path(), facts).unwrap(), Some(CARD));
    }
    let text = std::fs::read_to_string(&path).unwrap();
    // What is only added to is written again; without the comment it is not.
    std::fs::write(&path, text.clone() + "more").unwrap();
    assert_eq!(write(folder.path(), facts).unwrap(), Some(CARD));
    let mine = text.replace(MARKER, "") + "more";
    std::fs::write(&path, &mine).unwrap();
    assert_eq!(write(folder.path(), facts).unwrap(), None);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), mine);
}
