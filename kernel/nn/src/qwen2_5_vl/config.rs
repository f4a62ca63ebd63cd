//! `config.json`, in the shape of the hub's files and in that of transformers 5.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::error::Result;

/// Sizes and special token ids of a Qwen2.5-VL checkpoint.
#[derive(Clone, Debug)]
pub struct Config {
    pub text: TextConfig,
    pub vision: VisionConfig,
    pub image_token_id: u32,
    pub vision_start_token_id: u32,
    /// The head is the embedding matrix (3B), or a matrix of its own (7B).
    pub tie_word_embeddings: bool,
}

/// The language model.
#[derive(Clone, Debug, Deserialize)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(skip)]
    pub rope_theta: f64,
    /// How many of the `head_dim / 2` frequencies follow the temporal, height and width position.
    #[serde(skip)]
    pub mrope_section: [usize; 3],
}

impl TextConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

/// The vision tower and its merger.
#[derive(Clone, Debug, Deserialize)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub num_heads: usize,
    pub intermediate_size: usize,
    pub out_hidden_size: usize,
    pub patch_size: usize,
    #[serde(default = "default_temporal_patch_size")]
    pub temporal_patch_size: usize,
    pub spatial_merge_size: usize,
    /// Side of an attention window, in pixels.
    pub window_size: usize,
    /// The blocks that attend over the whole picture instead of windows.
    pub fullatt_block_indexes: Vec<usize>,
    #[serde(alias = "in_chans", default = "default_in_channels")]
    pub in_channels: usize,
}

impl VisionConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Values in one patch: channels × temporal × side².
    pub fn patch_values(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }
}

fn default_temporal_patch_size() -> usize {
    2
}

fn default_in_channels() -> usize {
    3
}

const ARCHITECTURE: &str = "Qwen2_5_VLForConditionalGeneration";

impl Config {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// The file is missing or malformed, belongs to another architecture, or lacks a value, by name.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let root: Value = serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.clone(), source })?;
        Self::parse(&root).map_err(|problem| Error::Config { path, problem })
    }

    fn parse(root: &Value) -> std::result::Result<Self, String> {
        check_architecture(root)?;
        let text_root = root.get("text_config").filter(|v| v.is_object()).unwrap_or(root);
        let text = parse_text(text_root)?;
        let vision_root = root.get("vision_config").ok_or("it has no `vision_config`")?;
        let vision = VisionConfig::deserialize(vision_root).map_err(|e| format!("vision_config: {e}"))?;
        let token = |key: &str| {
            let id = root.get(key).and_then(Value::as_u64).ok_or(format!("it has no `{key}`"))?;
            u32::try_from(id).map_err(|_| format!("`{key}` is {id}, which is no token id"))
        };
        let tied = |value: &Value| value.get("tie_word_embeddings").and_then(Value::as_bool);
        let config = Self {
            image_token_id: token("image_token_id")?,
            vision_start_token_id: token("vision_start_token_id")?,
            tie_word_embeddings: tied(root).or_else(|| tied(text_root)).unwrap_or(false),
            text,
            vision,
        };
        config.check()?;
        Ok(config)
    }

    /// Relations between sizes that the model's arithmetic relies on.
    fn check(&self) -> std::result::Result<(), String> {
        let (text, vision) = (&self.text, &self.vision);
        let divides = |a: usize, b: usize| b != 0 && a.is_multiple_of(b);
        if !divides(text.hidden_size, text.num_attention_heads) || !divides(text.head_dim(), 2) {
            return Err(format!(
                "hidden_size {} cannot be split over {} attention heads",
                text.hidden_size, text.num_attention_heads
            ));
        }
        if !divides(text.num_attention_heads, text.num_key_value_heads) {
            return Err(format!(
                "{} attention heads cannot share {} key/value heads",
                text.num_attention_heads, text.num_key_value_heads
            ));
        }
        if text.mrope_section.iter().sum::<usize>() != text.head_dim() / 2 {
            return Err(format!(
                "mrope_section {:?} does not add up to half the head dimension {}",
                text.mrope_section,
                text.head_dim()
            ));
        }
        if !divides(vision.hidden_size, vision.num_heads) || !divides(vision.head_dim(), 4) {
            return Err(format!(
                "vision hidden_size {} cannot be split over {} heads",
                vision.hidden_size, vision.num_heads
            ));
        }
        if vision.patch_size == 0 || vision.spatial_merge_size == 0 || self.window_tokens() == 0 {
            return Err("vision patch_size, spatial_merge_size and window_size must be positive".to_string());
        }
        if vision.out_hidden_size != text.hidden_size {
            return Err(format!(
                "vision out_hidden_size {} differs from the text hidden_size {}",
                vision.out_hidden_size, text.hidden_size
            ));
        }
        Ok(())
    }

    /// Side of an attention window in merged tokens.
    pub fn window_tokens(&self) -> usize {
        self.vision.window_size / self.vision.patch_size / self.vision.spatial_merge_size
    }
}

fn check_architecture(root: &Value) -> std::result::Result<(), String> {
    let named = root.pointer("/architectures/0").and_then(Value::as_str);
    let model_type = root.get("model_type").and_then(Value::as_str);
    if named == Some(ARCHITECTURE) || (named.is_none() && model_type == Some("qwen2_5_vl")) {
        return Ok(());
    }
    let found = named.or(model_type).unwrap_or("nothing");
    Err(format!("it describes {found}, but tunebook trains {ARCHITECTURE}; choose a Qwen2.5-VL folder"))
}

fn parse_text(root: &Value) -> std::result::Result<TextConfig, String> {
    let mut text = TextConfig::deserialize(root).map_err(|e| e.to_string())?;
    if root.get("hidden_act").and_then(Value::as_str).is_some_and(|act| act != "silu") {
        return Err(format!("hidden_act {} is not supported, only silu", root["hidden_act"]));
    }
    if root.get("use_sliding_window").and_then(Value::as_bool) == Some(true) {
        return Err("use_sliding_window is true, which is not supported".to_string());
    }
    // transformers 5 keeps both under rope_parameters; the hub's files spread them.
    let rope = root.get("rope_parameters").or_else(|| root.get("rope_scaling")).filter(|v| v.is_object());
    let rope = rope.ok_or("it has neither `rope_scaling` nor `rope_parameters`")?;
    let kind = rope.get("type").or_else(|| rope.get("rope_type")).and_then(Value::as_str).unwrap_or("mrope");
    if !matches!(kind, "mrope" | "default") {
        return Err(format!("rope type `{kind}` is not supported, only mrope"));
    }
    let theta = rope.get("rope_theta").or_else(|| root.get("rope_theta")).and_then(Value::as_f64);
    text.rope_theta = theta.ok_or("it has no `rope_theta`")?;
    let section = rope.get("mrope_section").ok_or("rope_scaling has no `mrope_section`")?;
    text.mrope_section = <[usize; 3]>::deserialize(section).map_err(|e| format!("mrope_section: {e}"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flat() -> Value {
        json!({
            "architectures": [ARCHITECTURE], "vocab_size": 100, "hidden_size": 64, "intermediate_size": 160,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
            "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
            "image_token_id": 7, "vision_start_token_id": 8, "tie_word_embeddings": true,
            "vision_config": {"depth": 4, "hidden_size": 48, "num_heads": 2, "intermediate_size": 100,
                "out_hidden_size": 64, "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
                "fullatt_block_indexes": [1, 3], "in_chans": 3}
        })
    }

    #[test]
    fn both_shapes_of_the_file_say_the_same() {
        let flat = flat();
        let mut text = flat.clone();
        let object = text.as_object_mut().unwrap();
        object.remove("vision_config");
        object.remove("rope_scaling");
        object.remove("rope_theta");
        object.insert(
            "rope_parameters".into(),
            json!({"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}),
        );
        let nested = json!({
            "architectures": [ARCHITECTURE], "text_config": text, "vision_config": flat["vision_config"],
            "image_token_id": 7, "vision_start_token_id": 8
        });
        let (a, b) = (Config::parse(&flat).unwrap(), Config::parse(&nested).unwrap());
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
        assert!(a.tie_word_embeddings);
        assert_eq!(a.text.mrope_section, [2, 3, 3]);
        assert_eq!(a.vision.patch_values(), 1176);
        assert_eq!(a.window_tokens(), 4);
    }

    #[test]
    fn another_architecture_is_named() {
        let mut other = flat();
        other["architectures"] = json!(["LlamaForCausalLM"]);
        assert!(Config::parse(&other).unwrap_err().contains("LlamaForCausalLM"));
    }

    #[test]
    fn sections_must_fit_the_head() {
        let mut wrong = flat();
        wrong["rope_scaling"]["mrope_section"] = json!([16, 24, 24]);
        assert!(Config::parse(&wrong).unwrap_err().contains("[16, 24, 24]"));
    }
}
