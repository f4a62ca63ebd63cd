//! An adapter's configuration, and `adapter_config.json`.

use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::error::AdapterError;
use super::target::LoraTarget;
use crate::error::Error;
use crate::error::Result;

/// How an adapter is made; the names are PEFT's.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank of the update.
    pub r: usize,
    /// The update is scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Share of the inputs of `A` that is dropped in training, in `0..1`.
    pub lora_dropout: f64,
    /// The layers it changes.
    pub target: LoraTarget,
}

impl LoraConfig {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |key, value: String, expected| Err(AdapterError::Value { key, value, expected }.into());
        if self.r == 0 {
            return wrong("lora_rank", self.r.to_string(), "a whole number of at least 1");
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return wrong("lora_alpha", self.lora_alpha.to_string(), "a number above 0");
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return wrong("lora_dropout", self.lora_dropout.to_string(), "a number from 0 to below 1");
        }
        Ok(())
    }
}

/// The keys of `adapter_config.json` that change what the tensors mean. One that is set is refused: the adapter
/// would load and answer differently from PEFT.
const UNSUPPORTED: [&str; 15] = [
    "use_dora",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "lora_bias",
    "fan_in_fan_out",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "use_qalora",
    "use_bdlora",
    "megatron_config",
];

/// Ways of starting that leave the base model's weights as they are. The others (`pissa`, `olora`, `corda`,
/// `loftq` …) change them, and the adapter only means something on top of that.
const PLAIN_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// Reads an `adapter_config.json`. Which layers are adapted is for the tensors to say, since PEFT's
/// `target_modules` may be a regular expression; the target is left at [`LoraTarget::All`].
pub(super) fn read(path: &Path) -> Result<LoraConfig> {
    let text = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let map: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.into(), source })?;
    refuse_unsupported(path, &map)?;
    let number = |key: &'static str, expected: &'static str, valid: fn(f64) -> bool| {
        let value = map.get(key).unwrap_or(&Value::Null);
        value.as_f64().filter(|v| valid(*v)).ok_or_else(|| AdapterError::Key {
            path: path.into(),
            key,
            value: value.to_string(),
            expected,
        })
    };
    Ok(LoraConfig {
        r: number("r", "a whole number of at least 1", |v| v >= 1.0 && v.fract() == 0.0)? as usize,
        lora_alpha: number("lora_alpha", "a number above 0", |v| v > 0.0)?,
        lora_dropout: match map.get("lora_dropout") {
            None => 0.0,
            Some(_) => number("lora_dropout", "a number from 0 to below 1", |v| (0.0..1.0).contains(&v))?,
        },
        target: LoraTarget::All,
    })
}

fn refuse_unsupported(path: &Path, map: &Map<String, Value>) -> Result<()> {
    let refuse = |key: &str, value: &Value| {
        Err(AdapterError::Unsupported { path: path.into(), key: key.to_string(), value: value.to_string() }.into())
    };
    match map.get("peft_type") {
        Some(value) if value == "LORA" => {}
        value => return refuse("peft_type", value.unwrap_or(&Value::Null)),
    }
    if let Some(bias) = map.get("bias").filter(|bias| **bias != "none") {
        return refuse("bias", bias);
    }
    if let Some(Value::String(start)) = map.get("init_lora_weights")
        && !PLAIN_STARTS.contains(&start.as_str())
    {
        return refuse("init_lora_weights", &map["init_lora_weights"]);
    }
    match UNSUPPORTED.iter().find_map(|key| map.get_key_value(*key).filter(|(_, value)| is_set(value))) {
        Some((key, value)) => refuse(key, value),
        None => Ok(()),
    }
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
        _ => true,
    }
}

/// The text of an `adapter_config.json`, laid out as PEFT does.
///
/// It holds the keys that PEFT has had since 0.9. Later versions write more of them, all without effect for a
/// plain LoRA; a version that reads a file without a key takes its default, but one that meets a key it does not
/// know fails.
pub(super) fn to_json(config: &LoraConfig, target_modules: &[String], base_model: &str) -> String {
    let alpha = config.lora_alpha;
    let whole = alpha.fract() == 0.0 && alpha < 1e15;
    let map = json!({
        "alpha_pattern": {},
        "auto_mapping": null,
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "layer_replication": null,
        "layers_pattern": null,
        "layers_to_transform": null,
        "loftq_config": {},
        // PEFT declares an integer.
        "lora_alpha": if whole { json!(alpha as i64) } else { json!(alpha) },
        "lora_dropout": config.lora_dropout,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": config.r,
        "rank_pattern": {},
        "revision": null,
        "target_modules": target_modules,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    });
    format!("{map:#}\n")
}
