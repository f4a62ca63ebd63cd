//! A LLaMA-Factory YAML as a run of ours: the same result, or a refusal that names the key.

mod keys;

use std::path::Path;
use std::path::PathBuf;

use serde_json::Map;
use serde_json::Value;

use crate::error::Error;
use crate::error::Result;
use crate::nearest::nearest;
use crate::settings;
use crate::settings::Settings;
use crate::settings::declaration;
use keys::Effect;

/// What a recipe asks for.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// `model_name_or_path`
    pub model: PathBuf,
    pub settings: Settings,
    /// Keys that were given and change nothing here, in the order of the file.
    pub without_effect: Vec<String>,
}

/// Why a recipe is not followed.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    #[error("{path} is not a YAML recipe: {problem}")]
    Yaml { path: PathBuf, problem: String },
    #[error("`{0}` is not an override; write key=value, as in learning_rate=1e-4")]
    Override(String),
    #[error("there is no recipe key named `{key}`{}", .nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default())]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("`{key}: {value}` cannot be followed: {why}")]
    Refused { key: String, value: String, why: &'static str },
    #[error("the recipe has no `{key}`, which a training needs")]
    Missing { key: &'static str },
}

impl Recipe {
    /// Reads a YAML file and lays `key=value` overrides over it, as `llamafactory-cli train` does.
    ///
    /// # Errors
    /// The file cannot be read; a key that is unknown (the nearest one is named), out of range, or of a value that would
    /// change the result and is not built.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let mut map: Map<String, Value> = serde_saphyr::from_str(&text)
            .map_err(|error| RecipeError::Yaml { path: path.to_path_buf(), problem: error.to_string() })?;
        for given in overrides {
            let (key, value) = given.split_once('=').ok_or_else(|| RecipeError::Override(given.clone()))?;
            let key = key.trim_start_matches("--").replace('-', "_");
            let key = declaration(&key).map_or(key, |setting| setting.name.to_string());
            map.insert(key, Value::String(value.to_string()));
        }
        Self::follow(&map)
    }

    fn follow(map: &Map<String, Value>) -> Result<Self> {
        let mut settings = defaults();
        let mut without_effect = Vec::new();
        let mut model = None;
        for (key, value) in map {
            let value = text(value);
            let absent = matches!(value.as_str(), "" | "null" | "None");
            match (key.as_str(), keys::effect(key)) {
                ("model_name_or_path", _) if !absent => model = Some(PathBuf::from(&value)),
                ("bf16" | "pure_bf16", _) if is(&value, "true") => settings.set("dtype", "bfloat16")?,
                (_, Some(_)) if absent => without_effect.push(key.clone()),
                (_, Some(Effect::None)) => without_effect.push(key.clone()),
                (_, Some(Effect::NoneIf(neutral, why))) => {
                    if !neutral.iter().any(|neutral| is(&value, neutral)) {
                        return Err(RecipeError::Refused { key: key.clone(), value, why }.into());
                    }
                    without_effect.push(key.clone());
                }
                // The defaults of the command line hold for a key without a value.
                (_, None) if absent && declaration(key).is_ok() => {}
                (_, None) => {
                    let unknown = |_| RecipeError::UnknownKey { key: key.clone(), nearest: nearest(key, every_key()) };
                    let setting = declaration(key).map_err(unknown)?;
                    settings.set(setting.name, &value)?;
                }
            }
        }
        needed(map, settings, model, without_effect)
    }
}

fn needed(
    map: &Map<String, Value>,
    mut settings: Settings,
    model: Option<PathBuf>,
    without_effect: Vec<String>,
) -> Result<Recipe> {
    let model = model.ok_or(RecipeError::Missing { key: "model_name_or_path" })?;
    if settings.dataset.is_empty() {
        return Err(RecipeError::Missing { key: "dataset" }.into());
    }
    if !map.get("do_train").is_some_and(|value| is(&text(value), "true")) {
        return Err(RecipeError::Missing { key: "do_train: true" }.into());
    }
    if let Some(adapter) = settings.adapter_name_or_path.as_ref().filter(|path| path.to_string_lossy().contains(',')) {
        let why = "several adapters are merged into one, which is not built yet; name one";
        let value = adapter.display().to_string();
        return Err(RecipeError::Refused { key: "adapter_name_or_path".to_string(), value, why }.into());
    }
    settings.output_dir.get_or_insert_with(|| PathBuf::from("trainer_output"));
    Ok(Recipe { model, settings, without_effect })
}

/// What LLaMA-Factory's command line and transformers take for keys that are absent, where an interactive session
/// starts from other values.
fn defaults() -> Settings {
    Settings {
        per_device_train_batch_size: 8,
        gradient_accumulation_steps: 1,
        lr_scheduler_type: settings::LrSchedulerType::Linear,
        logging_steps: 500,
        save_steps: 500,
        plot_loss: false,
        ..Settings::default()
    }
}

/// A YAML value as it would be typed; a list has commas.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Whether two values are the same; numbers and the cases of letters aside.
fn is(value: &str, other: &str) -> bool {
    value.eq_ignore_ascii_case(other)
        || matches!((value.parse::<f64>(), other.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

fn every_key() -> impl Iterator<Item = &'static str> {
    settings::names().chain(keys::names()).chain(["model_name_or_path"])
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.yaml");
        std::fs::write(&path, text).unwrap();
        Recipe::read(&path, &overrides.iter().map(|text| text.to_string()).collect::<Vec<_>>())
    }

    fn error(line: &str) -> String {
        read(&format!("{TUTORIAL}{line}\n"), &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_recipe_is_followed() {
        let recipe = read(TUTORIAL, &[]).unwrap();
        let expected = Settings {
            dtype: settings::Dtype::Bfloat16,
            dataset_dir: "./pokemon_sharegpt".into(),
            dataset: vec!["pokemon_multimodal".to_string(), "identity".to_string()],
            cutoff_len: 4096,
            max_samples: Some(100000),
            lora_rank: 64,
            lora_alpha: Some(128.0),
            lora_dropout: 0.1,
            lora_target: tunebook_nn::adapter::LoraTarget::parse("q_proj,v_proj"),
            learning_rate: 2e-4,
            warmup_ratio: 0.1,
            logging_steps: 10,
            save_steps: 500,
            output_dir: Some("saves/qwen25-vl-pokemon-lora".into()),
            overwrite_output_dir: true,
            ..Settings::default()
        };
        assert_eq!(recipe.settings, expected);
        assert_eq!(recipe.model, Path::new("Qwen/Qwen2.5-VL-3B-Instruct"));
        for key in ["trust_remote_code", "report_to", "resume_from_checkpoint"] {
            assert!(recipe.without_effect.iter().any(|other| other == key), "{key}");
        }
        assert!(!recipe.without_effect.iter().any(|key| key == "bf16" || key == "learning_rate"));
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
        assert!(swap("finetuning_type: lora", "finetuning_type: full").contains("finetuning_type: full"));
        assert!(error("neftune_noise_alpha: 5").contains("neftune_noise_alpha: 5"));
        assert!(error("loraplus_lr_ratio: 16.0").contains("loraplus_lr_ratio: 16"));
        assert!(error("quantization_bit: 4").contains("quantization_bit: 4"));
        assert!(error("fp16: true").contains("bf16: true"));
        assert!(error("adapter_name_or_path: a,b").contains("several adapters"));
        assert!(swap("lora_rank: 64", "lora_rank: 0").contains("from 1 to 1024"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            error("learning_rat: 1"),
            "there is no recipe key named `learning_rat` (did you mean `learning_rate`?)"
        );
        assert!(error("report_too: none").contains("did you mean `report_to`?"));
        assert!(read("a: [", &[]).unwrap_err().to_string().contains("is not a YAML recipe"));
        assert!(read("- a\n", &[]).unwrap_err().to_string().contains("is not a YAML recipe"));
        assert!(read("do_train: true\ndataset: d\n", &[]).unwrap_err().to_string().contains("model_name_or_path"));
        assert!(read("model_name_or_path: m\ndataset: d\n", &[]).unwrap_err().to_string().contains("do_train: true"));
        assert!(read("model_name_or_path: m\ndo_train: true\n", &[]).unwrap_err().to_string().contains("`dataset`"));
    }
}
