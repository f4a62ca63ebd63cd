use serde_json::json;
use tunebook_data::Template;

use super::*;
use crate::settings::Group;

const TUTORIAL: &str = "
model_name_or_path: Qwen/Qwen2.5-VL-3B-Instruct
trust_remote_code: true
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 64
lora_alpha: 128
lora_dropout: 0.1
lora_target: q_proj,v_proj
freeze_vision_tower: true
freeze_multi_modal_projector: true
image_max_pixels: 589824
video_max_pixels: 65536
dataset_dir: ./pokemon_sharegpt
dataset: pokemon_multimodal, identity
template: qwen2_vl
cutoff_len: 4096
max_samples: 100000
overwrite_cache: true
preprocessing_num_workers: 16
output_dir: saves/qwen25-vl-pokemon-lora
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
report_to: none
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
learning_rate: 2.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
flash_attn: auto
optim: adamw_torch
include_num_input_tokens_seen: true
packing: false
enable_thinking: true
val_size: 0.0
";

fn read(text: &str, overrides: &[&str]) -> Result<Recipe> {
    let arguments: Vec<_> = ["recipe.yaml"].iter().chain(overrides).map(|text| text.to_string()).collect();
    Recipe::from_arguments(&arguments, |_| Ok(text.to_string()))
}

fn pasted(command: &str) -> Recipe {
    Recipe::from_arguments(&in_a_shell(command), |file| panic!("{} is not given", file.display())).unwrap()
}

fn error(line: &str) -> String {
    read(&format!("{TUTORIAL}{line}\n"), &[]).unwrap_err().to_string()
}

#[test]
fn a_recipe_is_followed() {
    let recipe = read(TUTORIAL, &[]).unwrap();
    let expected = Settings {
        dtype: settings::Dtype::Bfloat16,
        template: Some(Template::qwen2_vl()),
        dataset_dir: "./pokemon_sharegpt".into(),
        dataset: vec!["pokemon_multimodal".to_string(), "identity".to_string()],
        cutoff_len: 4096,
        max_samples: Some(100000),
        lora_rank: 64,
        lora_alpha: Some(128.0),
        lora_dropout: 0.1,
        lora_target: tunebook_nn::adapter::LoraTarget::parse("q_proj,v_proj").unwrap(),
        learning_rate: 2e-4,
        warmup_ratio: 0.1,
        logging_steps: 10,
        save_steps: 500,
        output_dir: Some("saves/qwen25-vl-pokemon-lora".into()),
        overwrite_output_dir: true,
        eval_strategy: settings::EvalStrategy::No,
        per_device_eval_batch_size: Some(8),
        ..Settings::default()
    };
    assert_eq!(recipe.settings, expected);
    assert_eq!(recipe.model, Path::new("Qwen/Qwen2.5-VL-3B-Instruct"));
    // Neither what is followed nor what is as it would be anyway.
    assert_eq!(
        recipe.without_effect,
        [
            "trust_remote_code",
            "video_max_pixels",
            "overwrite_cache",
            "preprocessing_num_workers",
            "ddp_timeout",
            "flash_attn",
            "include_num_input_tokens_seen",
        ]
    );
}

#[test]
fn absent_keys_take_the_defaults_of_the_command_line() {
    let recipe = read("model_name_or_path: m\ndo_train: true\ndataset: d\nlora_rank: null\n", &[]).unwrap();
    let settings = recipe.settings;
    assert_eq!((settings.per_device_train_batch_size, settings.gradient_accumulation_steps), (8, 1));
    assert_eq!((settings.logging_steps, settings.save_steps, settings.lora_rank), (500, 500, 8));
    assert_eq!(settings.lr_scheduler_type, settings::LrSchedulerType::Linear);
    assert_eq!((settings.learning_rate, settings.num_train_epochs), (5e-5, 3.0));
}

#[test]
fn a_quantized_model_is_asked_for() {
    let settings = read(&format!("{TUTORIAL}quantization_bit: 4\nquantization_method: bnb\n"), &[]).unwrap().settings;
    assert_eq!(settings.quantization_bit, Some(settings::QuantizationBit::Four));
    assert_eq!(read(TUTORIAL, &["quantization_bit=none"]).unwrap().settings.quantization_bit, None);
}

#[test]
fn overrides_win() {
    let overrides = ["lr=1e-5", "--output_dir=other", "max_samples=10", "val_size=0"];
    let settings = read(TUTORIAL, &overrides).unwrap().settings;
    assert_eq!((settings.learning_rate, settings.max_samples), (1e-5, Some(10)));
    assert_eq!(settings.output_dir.as_deref(), Some(Path::new("other")));
    assert!(read(TUTORIAL, &["lr"]).unwrap_err().to_string().contains("write key=value"));
}

#[test]
fn nothing_that_changes_the_result_is_ignored() {
    let swap = |from: &str, to: &str| read(&TUTORIAL.replace(from, to), &[]).unwrap_err().to_string();
    assert!(swap("stage: sft", "stage: dpo").starts_with("`stage: dpo` cannot be followed: "));
    assert!(swap("finetuning_type: lora", "finetuning_type: oft").contains("oft"));
    assert!(error("use_galore: true").contains("use_galore: true"));
    assert!(error("rope_scaling: yarn").contains("rope_scaling: yarn"));
    assert!(error("quantization_bit: 3").contains("4, 8, or none"));
    assert!(error("quantization_method: hqq").contains("quantization_method: bnb"));
    assert!(error("fp16: true").contains("bf16: true"));
    assert!(error("adapter_name_or_path: a,b").contains("several adapters"));
    assert!(swap("lora_rank: 64", "lora_rank: 0").contains("from 1 to 1024"));
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(error("learning_rat: 1"), "there is no recipe key named `learning_rat` (did you mean `learning_rate`?)");
    assert!(error("report_too: none").contains("did you mean `report_to`?"));
    let yaml = |text: &str| read(text, &[]).unwrap_err().to_string();
    assert!(
        yaml("a: 1\nb: [").contains("is not a YAML recipe") && !yaml("a: [").contains("error:"),
        "{}",
        yaml("a: [")
    );
    assert!(!yaml("a: 1\na: 2\n").contains("Policy"), "{}", yaml("a: 1\na: 2\n"));
    let long = yaml(&format!("model_name_or_path: {}\n", "x".repeat(5000)));
    assert!(long.contains("the path is too long") && long.len() < 300, "{long}");
    assert!(read("a: [", &[]).unwrap_err().to_string().contains("is not a YAML recipe"));
    assert!(read("- a\n", &[]).unwrap_err().to_string().contains("is not a YAML recipe"));
    assert!(read("do_train: true\ndataset: d\n", &[]).unwrap_err().to_string().contains("model_name_or_path"));
    let training = |text: &str| read(text, &[]).unwrap().for_running();
    assert!(training("model_name_or_path: m\ndataset: d\n").unwrap_err().to_string().contains("do_train: true"));
    assert!(training("model_name_or_path: m\ndo_train: true\n").unwrap_err().to_string().contains("`dataset`"));
    let output = training("model_name_or_path: m\ndo_train: true\ndataset: d\n").unwrap().settings.output_dir;
    assert_eq!(output.as_deref(), Some(Path::new("trainer_output")));
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let text = "stage: dpo\nlora_rnk: 8\nlearning_rate: fast\noptim: adafactor\n";
    let found = read(text, &[]).unwrap_err().to_string();
    let lines: Vec<_> = found.lines().collect();
    assert_eq!(lines.len(), 6, "{found}");
    assert_eq!(lines[0], "the recipe cannot be followed:");
    assert!(lines[1].starts_with("  `stage: dpo` cannot be followed: "));
    assert_eq!(lines[2], "  there is no recipe key named `lora_rnk` (did you mean `lora_rank`?)");
    assert!(lines[3].starts_with("  `fast` is not a value for learning_rate"));
    assert!(lines[4].contains("the only optimizer is AdamW"));
    assert!(lines[5].contains("has no `model_name_or_path`"));
}

/// Every argument of the real LLaMA-Factory with its default.
fn arguments() -> Map<String, Value> {
    fixture("arguments.json")
}

fn fixture<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/recipe").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_argument_of_llama_factory_is_known_and_its_default_is_followed() {
    let mut all = arguments();
    all.insert("model_name_or_path".to_string(), json!("m"));
    Recipe::follow(all).unwrap();
}

#[test]
fn an_absent_key_means_what_it_means_to_llama_factory() {
    let arguments = arguments();
    for setting in settings::declarations().iter().filter(|setting| !keys::OWN.contains(&setting.name)) {
        let theirs =
            arguments.get(setting.name).unwrap_or_else(|| panic!("{} is a setting of ours: OWN", setting.name));
        // Answers follow the model's own file unless they are told otherwise.
        if setting.group == Group::Generation || is_absent(&text(theirs)) {
            continue;
        }
        let mut told = defaults();
        told.set(setting.name, &text(theirs)).unwrap();
        assert_eq!(setting.get(&told), setting.get(&defaults()), "{}", setting.name);
    }
}

#[test]
fn no_key_is_listed_twice() {
    let mut seen = std::collections::HashSet::new();
    assert!(keys::names().all(|key| seen.insert(key)));
}

#[test]
fn a_command_is_that_of_the_preview_button() {
    let cases: Vec<Map<String, Value>> = fixture("commands.json");
    assert!(cases.len() > 3);
    for case in cases {
        let recipe = read(case["recipe"].as_str().unwrap(), &[]).unwrap();
        let model = recipe.model.to_str();
        let again = RecipeDocument::new(model, true, &recipe.settings, &recipe.given);
        assert_eq!(again.command(), case["command"].as_str().unwrap(), "{}", case["name"]);
        // What is pasted from there into a shell means the same.
        let pasted = pasted(case["command"].as_str().unwrap());
        assert_eq!(
            (pasted.model, pasted.settings),
            (recipe.model.clone(), recipe.settings.clone()),
            "{}",
            case["name"]
        );
        // And so is that of a session in which the same is set by hand.
        let by_hand = RecipeDocument::new(model, true, &recipe.settings, &Map::new());
        assert_eq!(by_hand.command(), case["command"].as_str().unwrap(), "{}", case["name"]);
        assert!(by_hand.missing.is_empty() && by_hand.left_out.is_empty());
        // Which reads the same again.
        assert_eq!(read(&by_hand.yaml(), &[]).unwrap().settings, recipe.settings);
    }
}

/// What a program is given that is called so.
fn in_a_shell(command: &str) -> Vec<String> {
    let script = command.replacen("llamafactory-cli train", "printf '%s\\n'", 1);
    let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

#[test]
fn recipes_mean_what_llama_factorys_parser_reads() {
    // What it accepts and is refused here, or later there as well.
    const REFUSED: [&str; 1] = ["a template that is not there"];
    let cases: Vec<Map<String, Value>> = fixture("parsed.json");
    let first = read(cases[0]["recipe"].as_str().unwrap(), &[]).unwrap().settings;
    for case in &cases {
        let (name, text) = (case["name"].as_str().unwrap(), case["recipe"].as_str().unwrap());
        let recipe = read(text, &[]).and_then(Recipe::for_running);
        let Some(values) = case.get("values").and_then(Value::as_object).filter(|_| !REFUSED.contains(&name)) else {
            assert!(recipe.is_err(), "{name}");
            continue;
        };
        let recipe = recipe.unwrap_or_else(|error| panic!("{name}: {error}"));
        for (key, value) in values.iter().filter(|(key, _)| recipe.given.contains_key(*key)) {
            let Ok(setting) = settings::declaration(key) else { continue };
            let mut told = first.clone();
            match (key.as_str(), value.as_f64()) {
                ("warmup_steps", Some(share)) if share < 1.0 => told.warmup_ratio = share,
                ("warmup_steps", Some(steps)) => told.warmup_steps = steps as usize,
                (REPORT_TO, _) => told.report_to = report_to(&super::text(value)).unwrap().0,
                _ => told.set(key, &text_or_empty(value)).unwrap(),
            }
            assert_eq!(setting.get(&recipe.settings), setting.get(&told), "{name}");
            assert_eq!(recipe.settings.warmup_ratio, told.warmup_ratio, "{name}");
        }
        let is_on = |key: &str| values.get(key).map_or(key == "do_train", |value| value == true);
        assert_eq!((recipe.trains(), recipe.predicts()), (is_on("do_train"), is_on("do_predict")), "{name}");
    }
}

fn text_or_empty(value: &Value) -> String {
    if value == "" { "\"\"".to_string() } else { text(value) }
}

#[test]
fn answers_are_made_as_llama_factorys_command_line_makes_them() {
    let arguments = arguments();
    let predicting = format!("{TUTORIAL}do_predict: true\npredict_with_generate: true\ntop_p: 0.5\n");
    let settings = read(&predicting, &[]).unwrap().settings;
    for setting in settings::declarations().iter().filter(|setting| setting.group == Group::Generation) {
        let mut told = Settings::default();
        told.set(setting.name, &text(&arguments[setting.name])).unwrap();
        let expected = if setting.name == "top_p" { "0.5".to_string() } else { setting.get(&told) };
        assert_eq!(setting.get(&settings), expected, "{}", setting.name);
    }
}

/// A recipe of this line.
fn recipe(line: &str) -> Recipe {
    read(&format!("model_name_or_path: m\n{line}\n"), &[]).unwrap()
}

#[test]
fn a_service_that_is_told_changes_nothing_and_is_noted() {
    for (line, noted) in [
        ("report_to: wandb", "report_to: wandb"),
        ("report_to: [wandb, tensorboard, mlflow]", "report_to: wandb, mlflow"),
        ("use_swanlab: true", "use_swanlab"),
    ] {
        assert_eq!(recipe(line).without_effect, [noted]);
    }
    for line in ["report_to: none", "report_to: null", "report_to: [tensorboard, csv]", "use_swanlab: false"] {
        assert!(recipe(line).without_effect.is_empty(), "{line}");
    }
    let error = read("model_name_or_path: m\nreport_to: wandbb\n", &[]).unwrap_err().to_string();
    assert!(error.ends_with("one or more of tensorboard, csv, separated by commas, or none"), "{error}");
}

#[test]
fn files_that_tell_of_a_training_are_asked_for_as_in_transformers() {
    let reports = |line: &str| recipe(line).settings.get("report_to").unwrap();
    for (line, expected) in [
        ("report_to: wandb", "none"),
        ("report_to: None", "none"),
        ("report_to: all", "tensorboard"),
        ("report_to: [wandb, tensorboard]", "tensorboard"),
        ("report_to: [csv, tensorboard]", "csv,tensorboard"),
    ] {
        assert_eq!(reports(line), expected, "{line}");
    }
    // As it was read, unless something else is set since; CSV is not LLaMA-Factory's.
    for (given, now, expected, left_out) in [
        (r#"["wandb"]"#, "none", "report_to: [\"wandb\"]\n", vec![]),
        (r#"["wandb"]"#, "tensorboard", "report_to: tensorboard\n", vec![]),
        ("\"tensorboard\"", "none", "report_to: none\n", vec![]),
        ("\"none\"", "tensorboard,csv", "report_to: tensorboard\n", vec!["report_to=csv"]),
        ("null", "csv", "report_to: none\n", vec!["report_to=csv"]),
    ] {
        let mut settings = Settings::default();
        settings.set("report_to", now).unwrap();
        let given = Map::from_iter([("report_to".to_string(), serde_json::from_str(given).unwrap())]);
        let document = RecipeDocument::new(Some("m"), false, &settings, &given);
        assert!(document.yaml().contains(expected), "{}", document.yaml());
        assert_eq!(document.left_out, left_out);
    }
}

#[test]
fn an_export_says_what_is_merged_and_where_it_goes() {
    // The keys of LLaMA-Factory's example.
    const MERGE: &str = "
model_name_or_path: Qwen/Qwen2.5-VL-7B-Instruct
adapter_name_or_path: saves/qwen2_5vl-7b/lora/sft
template: qwen2_vl
trust_remote_code: true
export_dir: output/qwen2_5vl_lora_sft
export_size: 2
export_device: cpu
export_legacy_format: false
";
    let export = |text: &str| read(text, &[]).unwrap().for_export();
    let (recipe, folder) = export(MERGE).unwrap();
    assert_eq!(folder, Path::new("output/qwen2_5vl_lora_sft"));
    assert_eq!(recipe.settings.adapter_name_or_path.as_deref(), Some(Path::new("saves/qwen2_5vl-7b/lora/sft")));
    assert_eq!(
        (recipe.settings.export_size, recipe.without_effect),
        (2.0, vec!["trust_remote_code".into(), "export_device".into()])
    );
    let error = |text: &str| export(text).unwrap_err().to_string();
    assert!(error(&MERGE.replace("export_dir", "output_dir")).contains("no `export_dir`"));
    assert!(
        error(&MERGE.replace("adapter_name_or_path: saves/qwen2_5vl-7b/lora/sft", ""))
            .contains("no `adapter_name_or_path`")
    );
    for line in ["export_quantization_bit: 4", "export_hub_model_id: me/mine", "infer_dtype: float16"] {
        assert!(error(&format!("{MERGE}{line}\n")).starts_with(&format!("`{line}` cannot be followed")), "{line}");
    }
    assert!(error(&MERGE.replace("format: false", "format: true")).contains("safetensors"));
}

#[test]
fn no_system_prompt_comes_back_as_none() {
    let recipe = read(&format!("{TUTORIAL}default_system: \"\"\n"), &[]).unwrap();
    assert_eq!(recipe.settings.default_system, Some(settings::AnyText(String::new())));
    let document = RecipeDocument::new(Some("m"), true, &recipe.settings, &Map::new());
    assert!(document.yaml().contains("\ndefault_system: \"\"\n"), "{}", document.yaml());
    let pasted = pasted(&document.command());
    assert_eq!(pasted.settings.default_system, recipe.settings.default_system);
    assert_eq!(read(&format!("{TUTORIAL}default_system: null\n"), &[]).unwrap().settings.default_system, None);
}

/// The keys of LLaMA-Factory's examples for Qwen2.5-VL, LoRA and QLoRA.
const EXAMPLE: &str = "
model_name_or_path: Qwen/Qwen2.5-VL-7B-Instruct
image_max_pixels: 262144
video_max_pixels: 16384
trust_remote_code: true
quantization_bit: 4
quantization_method: bitsandbytes
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
dataset: first, second
template: qwen2_vl
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4
output_dir: saves/qwen2_5vl-7b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
";

#[test]
fn how_thoughts_are_treated_is_followed() {
    let thinking = |line: &str| read(&format!("model_name_or_path: m\n{line}\n"), &[]).unwrap().settings;
    for (line, enable, preserve) in [
        ("", Some(true), false),
        ("enable_thinking: false", Some(false), false),
        ("enable_thinking: null", None, false),
        ("preserve_thinking: true", Some(true), true),
    ] {
        let settings = thinking(line);
        assert_eq!((settings.enable_thinking, settings.preserve_thinking), (enable, preserve), "{line}");
        let yaml = RecipeDocument::new(Some("m"), false, &settings, &Map::new()).yaml();
        assert_eq!(read(&yaml, &[]).unwrap().settings, settings, "{yaml}");
    }
    let given = read("model_name_or_path: m\nenable_thinking: null\n", &[]).unwrap();
    let again = |settings: &Settings| RecipeDocument::new(Some("m"), true, settings, &given.given).yaml();
    assert!(again(&given.settings).contains("\nenable_thinking: null\n"));
    assert!(
        again(&Settings { enable_thinking: Some(true), ..given.settings.clone() }).contains("enable_thinking: true")
    );
    for template in Template::NAMES {
        assert_eq!(thinking(&format!("template: {template}")).template.unwrap().name, *template);
    }
    let unknown = read("model_name_or_path: m\ntemplate: qwen3_5\n", &[]).unwrap_err().to_string();
    assert!(unknown.contains("qwen2_vl, qwen3_vl, qwen3_vl_nothink, or none"));
}

#[test]
fn a_recipe_comes_back_as_it_was() {
    for text in [EXAMPLE, TUTORIAL] {
        let recipe = read(text, &[]).unwrap();
        let document = RecipeDocument::new(recipe.model.to_str(), true, &recipe.settings, &recipe.given);
        let again: Map<String, Value> = serde_saphyr::from_str(&document.yaml()).unwrap();
        assert_eq!(again.iter().collect::<Vec<_>>(), recipe.given.iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_was_changed_since_is_changed_in_the_recipe() {
    let recipe = read(EXAMPLE, &[]).unwrap();
    let mut settings = recipe.settings.clone();
    for (key, value) in [("lr", "2e-5"), ("lora_dropout", "0.05"), ("dtype", "float32"), ("memory", "6")] {
        settings.set(key, value).unwrap();
    }
    let document = RecipeDocument::new(Some("models/other"), false, &settings, &recipe.given);
    let (before, after) =
        (RecipeDocument::new(recipe.model.to_str(), true, &recipe.settings, &recipe.given).yaml(), document.yaml());
    let changed: Vec<_> = after.lines().filter(|line| !before.lines().any(|other| other == *line)).collect();
    assert_eq!(
        changed,
        ["model_name_or_path: models/other", "learning_rate: 2.0e-05", "bf16: false", "lora_dropout: 0.05"]
    );
    assert_eq!(document.left_out, ["memory=6"]);
    assert!(!document.command().contains("bf16"));
}

#[test]
fn a_new_session_says_what_it_lacks() {
    let document = RecipeDocument::new(None, true, &Settings::default(), &Map::new());
    assert_eq!(document.missing, ["model_name_or_path", "dataset", "output_dir"]);
    assert!(
        document.yaml().starts_with("stage: sft\ndo_train: true\npreprocessing_num_workers: 16\n"),
        "{}",
        document.yaml()
    );
}

#[test]
fn how_many_processes_a_recipe_is_for_stands_in_a_comment() {
    let recipe = read(EXAMPLE, &[]).unwrap();
    assert_eq!(recipe.settings.world_size, 1);
    let settings = Settings { world_size: 4, ..recipe.settings.clone() };
    let document = RecipeDocument::new(recipe.model.to_str(), true, &settings, &recipe.given);
    assert!(document.yaml().starts_with("# FORCE_TORCHRUN=1 NPROC_PER_NODE=4 llamafactory-cli train FILE\n"));
    assert!(document.command().starts_with("FORCE_TORCHRUN=1 NPROC_PER_NODE=4 llamafactory-cli train "));
    assert!(document.left_out.is_empty());
    assert_eq!(read(&document.yaml(), &[]).unwrap().settings, settings);
    for (comment, world_size) in [
        ("# FORCE_TORCHRUN=1 NNODES=2 NPROC_PER_NODE=3 llamafactory-cli train x.yaml", 6),
        ("# NNODES=2 NODE_RANK=0", 2),
        ("# NPROC_PER_NODE=many", 1),
        ("# NPROC_PER_NODE=0", 1),
    ] {
        let recipe = read(&format!("{comment}\n{EXAMPLE}"), &[]).unwrap();
        assert_eq!(recipe.settings.world_size, world_size, "{comment}");
    }
}
