//! Model families: which of them a folder belongs to, and what each does in its own way.

use std::path::Path;

use serde_json::Value;
use tunebook_quote::quote;

use super::config_error::ConfigError;
use super::config_error::Parsed;
use super::names::TensorNames;
use super::qwen2_5_vl;
use super::qwen2_vl;
use super::qwen3_vl;
use super::vision_tower::VisionTower;
use crate::error::Error;
use crate::error::Result;
use crate::layers::Loader;
use crate::layers::TextConfig;
use crate::layers::vision::VisionConfig;

/// What the coordinates of boxes count, in what a family's models write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// Pixels of the picture as the vision tower reads it.
    ResizedPixels,
    /// Thousandths of the picture's width and height.
    Thousandths,
}

/// What llama.cpp calls the parts of a family's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LlamaCpp {
    /// `general.architecture` of the language model.
    pub architecture: &'static str,
    /// `clip.projector_type` of the vision tower with its projector.
    pub projector: &'static str,
    /// Whether queries, keys and values of the tower stay one matrix.
    pub joined_qkv: bool,
}

/// A family of models.
#[derive(Debug)]
pub struct Family {
    /// As `architectures` in config.json has it.
    pub architecture: &'static str,
    /// As `model_type` has it.
    pub model_type: &'static str,
    pub names: TensorNames,
    /// The chat template with which its models were trained, by LLaMA-Factory's name.
    pub template: &'static str,
    /// That of those which think before they answer, where there are some.
    pub thinking_template: Option<&'static str>,
    /// In which its models were trained to write boxes.
    pub coordinates: Coordinates,
    pub(crate) llama_cpp: LlamaCpp,
    /// Reads config.json.
    pub(crate) config: fn(&Value) -> Parsed<Box<dyn ModelConfig>>,
}

/// Every family that can be loaded.
pub static FAMILIES: &[&Family] = &[&qwen2_5_vl::FAMILY, &qwen2_vl::FAMILY, &qwen3_vl::FAMILY];

/// What a family reads out of config.json.
pub trait ModelConfig: Send + Sync {
    fn text(&self) -> &TextConfig;

    fn vision(&self) -> &VisionConfig;

    /// The token that stands for a piece of a picture.
    fn image_token_id(&self) -> u32;

    /// Whether the head is meant to be the embedding matrix.
    fn tie_word_embeddings(&self) -> bool;

    /// Side of a patch in pixels.
    fn patch_size(&self) -> usize;

    /// Frames of a patch.
    fn temporal_patch_size(&self) -> usize;

    /// Side of a token in patches.
    fn spatial_merge_size(&self) -> usize;

    /// Takes the weights of the vision tower out of the checkpoint.
    ///
    /// # Errors
    /// A tensor is of another shape.
    fn load_vision(&self, loader: &mut Loader) -> Result<Box<dyn VisionTower>>;
}

/// Reads `config.json` of a model folder, as the family that it names does.
///
/// # Errors
/// The file is missing or malformed, belongs to another architecture or to quantized weights, or has a value that is
/// not supported, by name.
pub fn read_config(folder: &Path) -> Result<(&'static Family, Box<dyn ModelConfig>)> {
    let path = folder.join("config.json");
    let text = tunebook_files::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let root: Value = serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.clone(), source })?;
    parse(&root).map_err(|problem| Error::Config { path, problem })
}

fn parse(root: &Value) -> Parsed<(&'static Family, Box<dyn ModelConfig>)> {
    let family = family(root)?;
    check_quantization(root)?;
    Ok((family, (family.config)(root)?))
}

fn family(root: &Value) -> Parsed<&'static Family> {
    let named = root.pointer("/architectures/0").and_then(Value::as_str);
    let model_type = root.get("model_type").and_then(Value::as_str);
    let is_named = |family: &&&Family| match named {
        Some(named) => named == family.architecture,
        None => model_type == Some(family.model_type),
    };
    FAMILIES.iter().find(is_named).copied().ok_or_else(|| {
        let expected: Vec<_> = FAMILIES.iter().map(|family| family.architecture).collect();
        ConfigError::Architecture { found: named.or(model_type).map(quote), expected: expected.join(", ") }
    })
}

/// Weights that are stored quantized are other tensors under the same names.
fn check_quantization(root: &Value) -> Parsed<()> {
    let config = |key: &str| root.get(key).filter(|value| value.is_object());
    let Some(config) = config("quantization_config").or_else(|| config("compression_config")) else { return Ok(()) };
    let method = config.get("quant_method").and_then(Value::as_str).unwrap_or("bitsandbytes");
    let is_on = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
    let bits = match (is_on("load_in_4bit"), is_on("load_in_8bit")) {
        (true, _) => Some(4),
        (_, true) => Some(8),
        _ => config.get("bits").and_then(Value::as_u64),
    };
    Err(ConfigError::Quantized { method: quote(method), bits })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(root: Value) -> String {
        parse(&root).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn every_family_is_found_by_its_name_and_by_its_type() {
        for family in FAMILIES {
            for root in [json!({"architectures": [family.architecture]}), json!({"model_type": family.model_type})] {
                assert_eq!(super::family(&root).unwrap().architecture, family.architecture);
            }
        }
    }

    #[test]
    fn another_architecture_is_named() {
        let message = problem(json!({"architectures": ["LlamaForCausalLM"], "model_type": FAMILIES[0].model_type}));
        assert!(message.contains("LlamaForCausalLM") && message.contains(FAMILIES[0].architecture), "{message}");
        assert!(problem(json!({"architectures": ["x".repeat(100_000)]})).len() < 400);
    }

    #[test]
    fn quantized_weights_are_refused_by_their_method() {
        let refusal = |quantization: Value| {
            problem(json!({"model_type": FAMILIES[0].model_type, "quantization_config": quantization}))
        };
        let cases = [
            (json!({"quant_method": "awq", "bits": 4}), "awq, 4 bits"),
            (json!({"quant_method": "gptq", "bits": 8}), "gptq, 8 bits"),
            (json!({"load_in_4bit": true, "load_in_8bit": false}), "bitsandbytes, 4 bits"),
            (json!({"quant_method": "bitsandbytes", "load_in_8bit": true}), "bitsandbytes, 8 bits"),
            (json!({"quant_method": "compressed-tensors", "format": "pack-quantized"}), "compressed-tensors"),
            (json!({"quant_method": "fp8"}), "fp8"),
        ];
        for (quantization, method) in cases {
            let message = refusal(quantization);
            assert!(message.contains(method) && message.contains("quantization_bit"), "{message}");
        }
        assert!(refusal(json!({"quant_method": "x".repeat(100_000)})).len() < 400);
    }
}
