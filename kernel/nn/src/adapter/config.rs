//! An adapter's configuration, and `adapter_config.json`.

use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_quote::message;
use tunebook_quote::quote;

use super::ModelShape;
use super::error::AdapterError;
use super::error::Expected;
use super::frozen_parts::FrozenParts;
use super::patterns::Patterns;
use super::target::LoraTarget;
use super::target::target_modules;
use crate::error::Error;
use crate::error::Result;
use crate::models::TensorNames;

/// How an adapter is made; the names are PEFT's.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank of the update.
    pub r: usize,
    /// The update is scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Share of the inputs of `A` that is dropped in training, in `0..1`.
    pub lora_dropout: f64,
    /// Scales by `lora_alpha / √r` instead: Kalajdzievski 2023, arXiv 2312.03732.
    pub use_rslora: bool,
    /// Trains the length of the weight's rows by itself: Liu et al. 2024, arXiv 2402.09353.
    pub use_dora: bool,
    /// How A and B begin.
    pub init_lora_weights: InitLoraWeights,
    /// Ranks of some layers that have another.
    pub rank_pattern: Patterns<usize>,
    /// The same of `lora_alpha`.
    pub alpha_pattern: Patterns<f64>,
    /// The layers it changes.
    pub target: LoraTarget,
    /// The parts of the model in which the target changes nothing.
    pub frozen: FrozenParts,
    /// Modules of which it trains a copy, by the ends of their names.
    pub modules_to_save: Vec<String>,
    /// A head that is the embedding follows the embedding's copy.
    pub ensure_weight_tying: bool,
}

/// What A and B are before they are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitLoraWeights {
    /// A random, B zero.
    #[default]
    Random,
    /// The largest singular vectors of the weight, which then keeps the rest: Meng et al. 2024, arXiv 2404.02948. They are
    /// found by so many iterations, or by as many as it takes.
    Pissa { niter: Option<usize> },
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            lora_alpha: 16.0,
            lora_dropout: 0.0,
            use_rslora: false,
            use_dora: false,
            init_lora_weights: InitLoraWeights::Random,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            target: LoraTarget::All,
            frozen: FrozenParts::default(),
            modules_to_save: Vec::new(),
            ensure_weight_tying: false,
        }
    }
}

impl LoraConfig {
    /// The rank in the layer of this name.
    pub fn rank_of(&self, module: &str, names: &TensorNames) -> usize {
        self.rank_pattern.get(&[module, &names.published(module)]).unwrap_or(self.r)
    }

    /// The factor of `B A` in the layer of this name.
    pub fn scaling_of(&self, module: &str, names: &TensorNames) -> f64 {
        let r = self.rank_of(module, names) as f64;
        let alpha = self.alpha_pattern.get(&[module, &names.published(module)]).unwrap_or(self.lora_alpha);
        alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    /// Has the target mean the layers of these ids.
    pub(super) fn retarget(&mut self, shape: &ModelShape, adapted: impl Fn(usize) -> bool) {
        let ids: Vec<_> = (0..shape.linears.len()).filter(|id| adapted(*id)).collect();
        if self.target.resolve(shape, self.frozen).ok() != Some(ids) {
            self.target = LoraTarget::List(target_modules(shape, adapted));
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |key, value: String, expected| Err(AdapterError::Value { key, value, expected }.into());
        if self.r == 0 {
            return wrong("lora_rank", self.r.to_string(), Expected::PositiveInteger);
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return wrong("lora_alpha", self.lora_alpha.to_string(), Expected::PositiveNumber);
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return wrong("lora_dropout", self.lora_dropout.to_string(), Expected::Probability);
        }
        if self.use_dora && self.init_lora_weights != InitLoraWeights::Random {
            return wrong("pissa_init", "true".to_string(), Expected::FalseWithDora);
        }
        Ok(())
    }
}

/// The keys of `adapter_config.json` that change what the tensors mean. One that is set is refused: the adapter
/// would load and answer differently from PEFT.
const UNSUPPORTED: [&str; 12] = [
    "lora_bias",
    "fan_in_fan_out",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "use_qalora",
    "use_bdlora",
    "kasa_config",
    "monteclora_config",
    "megatron_config",
];

/// Ways of starting that leave the base model's weights as they are. The others (`pissa`, `olora`, `corda`,
/// `loftq` …) change them, and the adapter only means something on top of that.
const PLAIN_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// Reads an `adapter_config.json`. Which layers are adapted is for the tensors to say, since PEFT's
/// `target_modules` may be a regular expression; the target is left at [`LoraTarget::All`].
pub(super) fn read(path: &Path) -> Result<LoraConfig> {
    let text = tunebook_files::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let map: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.into(), source })?;
    refuse_unsupported(path, &map)?;
    let number = |key: &'static str, expected: Expected, valid: fn(f64) -> bool| {
        let value = map.get(key).unwrap_or(&Value::Null);
        value.as_f64().filter(|v| valid(*v)).ok_or_else(|| AdapterError::Key {
            path: path.into(),
            key,
            value: quote(&value.to_string()),
            expected,
        })
    };
    let switch = |key: &'static str| match map.get(key).unwrap_or(&Value::Null) {
        Value::Null => Ok(false),
        Value::Bool(on) => Ok(*on),
        value => Err(AdapterError::Key {
            path: path.into(),
            key,
            value: quote(&value.to_string()),
            expected: Expected::Bool,
        }),
    };
    Ok(LoraConfig {
        r: number("r", Expected::PositiveInteger, |v| v >= 1.0 && v.fract() == 0.0)? as usize,
        lora_alpha: number("lora_alpha", Expected::PositiveNumber, |v| v > 0.0)?,
        lora_dropout: match map.get("lora_dropout") {
            None => 0.0,
            Some(_) => number("lora_dropout", Expected::Probability, |v| (0.0..1.0).contains(&v))?,
        },
        use_rslora: switch("use_rslora")?,
        use_dora: switch("use_dora")?,
        modules_to_save: match map.get("modules_to_save") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_string).collect(),
            _ => Vec::new(),
        },
        rank_pattern: patterns(path, &map, "rank_pattern", Expected::PositiveIntegers, |value| {
            value.as_u64().filter(|rank| *rank > 0).map(|rank| rank as usize)
        })?,
        alpha_pattern: patterns(path, &map, "alpha_pattern", Expected::PositiveNumbers, |value| {
            value.as_f64().filter(|alpha| *alpha > 0.0)
        })?,
        ensure_weight_tying: switch("ensure_weight_tying")?,
        ..LoraConfig::default()
    })
}

fn patterns<T: Copy>(
    path: &Path,
    map: &Map<String, Value>,
    key: &'static str,
    expected: Expected,
    parse: fn(&Value) -> Option<T>,
) -> Result<Patterns<T>> {
    let mut patterns = Patterns::default();
    for (text, value) in map.get(key).and_then(Value::as_object).into_iter().flatten() {
        let parsed = parse(value).ok_or_else(|| AdapterError::Key {
            path: path.into(),
            key,
            value: quote(&json!({ text: value }).to_string()),
            expected,
        })?;
        patterns.push(text, parsed).map_err(|problem| AdapterError::Pattern {
            path: path.into(),
            key,
            pattern: quote(text),
            problem: message(&problem),
        })?;
    }
    Ok(patterns)
}

fn refuse_unsupported(path: &Path, map: &Map<String, Value>) -> Result<()> {
    let refuse = |key: &str, value: &Value| {
        Err(AdapterError::Unsupported { path: path.into(), key: quote(key), value: quote(&value.to_string()) }.into())
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
/// It holds the keys that PEFT has had since 0.9. Later versions write more of them, all without effect here; a version that reads a file without a key takes its default, but one that meets a key it does not
/// know fails.
pub(super) fn to_json(config: &LoraConfig, target_modules: &[String], base_model: &str) -> String {
    // PEFT declares integers.
    let number = |alpha: f64| if alpha.fract() == 0.0 && alpha < 1e15 { json!(alpha as i64) } else { json!(alpha) };
    let mut map = json!({
        "alpha_pattern": config.alpha_pattern.iter().map(|(text, alpha)| (text.to_string(), number(alpha))).collect::<Map<_, _>>(),
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
        "lora_alpha": number(config.lora_alpha),
        "lora_dropout": config.lora_dropout,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "modules_to_save": if config.modules_to_save.is_empty() { json!(null) } else { json!(config.modules_to_save) },
        "peft_type": "LORA",
        "r": config.r,
        "rank_pattern": config.rank_pattern.iter().map(|(text, rank)| (text.to_string(), json!(rank))).collect::<Map<_, _>>(),
        "revision": null,
        "target_modules": target_modules,
        "task_type": "CAUSAL_LM",
        "use_dora": config.use_dora,
        "use_rslora": config.use_rslora,
    });
    // Only the versions that have it know it.
    if config.ensure_weight_tying {
        map["ensure_weight_tying"] = json!(true);
    }
    format!("{map:#}\n")
}
