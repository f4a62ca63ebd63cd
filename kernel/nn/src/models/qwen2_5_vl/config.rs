//! `config.json`, as transformers reads it: nested as it saves it since 4.52, or flat as the hub has it; what the file
//! leaves out is the default of transformers' classes, and keys that they do not know are passed over.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_quote::quote;

use crate::error::Result;
use crate::layers::Loader;
use crate::layers::TextConfig;
use crate::models::ConfigError;
use crate::models::ModelConfig;
use crate::models::Parsed;
use crate::models::VisionTower;

use super::vision::VisionModel;

/// Sizes and special token ids of a Qwen2.5-VL checkpoint.
#[derive(Clone, Debug)]
pub struct Config {
    pub text: TextConfig,
    pub vision: VisionConfig,
    pub image_token_id: u32,
    pub vision_start_token_id: u32,
    /// Whether the head is meant to be the embedding matrix (3B) or a matrix of its own (7B). A checkpoint that has a
    /// head with other values than the embedding keeps it all the same.
    pub tie_word_embeddings: bool,
}

/// The vision tower and its merger, with the defaults of transformers' `Qwen2_5_VLVisionConfig`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub num_heads: usize,
    pub intermediate_size: usize,
    pub out_hidden_size: usize,
    pub patch_size: usize,
    pub temporal_patch_size: usize,
    pub spatial_merge_size: usize,
    /// Side of an attention window, in pixels.
    pub window_size: usize,
    /// The blocks that attend over the whole picture instead of windows.
    pub fullatt_block_indexes: Vec<usize>,
    /// The files' `in_chans` is none of the class's names.
    pub in_channels: usize,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            depth: 32,
            hidden_size: 3584,
            num_heads: 16,
            intermediate_size: 3420,
            out_hidden_size: 3584,
            patch_size: 14,
            temporal_patch_size: 2,
            spatial_merge_size: 2,
            window_size: 112,
            fullatt_block_indexes: vec![7, 15, 23, 31],
            in_channels: 3,
        }
    }
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

impl ModelConfig for Config {
    fn text(&self) -> &TextConfig {
        &self.text
    }

    fn image_token_id(&self) -> u32 {
        self.image_token_id
    }

    fn tie_word_embeddings(&self) -> bool {
        self.tie_word_embeddings
    }

    fn patch_size(&self) -> usize {
        self.vision.patch_size
    }

    fn temporal_patch_size(&self) -> usize {
        self.vision.temporal_patch_size
    }

    fn spatial_merge_size(&self) -> usize {
        self.vision.spatial_merge_size
    }

    fn load_vision(&self, loader: &mut Loader) -> Result<Box<dyn VisionTower>> {
        Ok(Box::new(VisionModel::load(self, loader)?))
    }
}

impl Config {
    /// Reads the contents of a `config.json`.
    ///
    /// # Errors
    /// A value that is not supported, by name.
    pub fn parse(root: &Value) -> Parsed<Self> {
        let text_root = root.get("text_config").filter(|v| v.is_object()).unwrap_or(root);
        let text = parse_text(text_root)?;
        let vision = parse_vision(root.get("vision_config").unwrap_or(&Value::Null))?;
        let token = |key: &'static str, default: u32| match root.get(key).unwrap_or(&Value::Null) {
            Value::Null => Ok(default),
            id => u32::deserialize(id).map_err(|_| ConfigError::TokenId { key, value: quote(&id.to_string()) }),
        };
        // transformers 5 keeps it at the top, 4.52 to 4.57 in text_config.
        let tied = |value: &Value| value.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false);
        let config = Self {
            image_token_id: token("image_token_id", 151_655)?,
            vision_start_token_id: token("vision_start_token_id", 151_652)?,
            tie_word_embeddings: tied(root) || tied(text_root),
            text,
            vision,
        };
        config.check()?;
        Ok(config)
    }

    /// Relations between sizes that the model's arithmetic relies on.
    fn check(&self) -> Parsed<()> {
        let (text, vision) = (&self.text, &self.vision);
        let divides = |a: usize, b: usize| b != 0 && a.is_multiple_of(b);
        if !divides(text.hidden_size, text.num_attention_heads) || !divides(text.head_dim(), 2) {
            return Err(ConfigError::Heads { hidden_size: text.hidden_size, heads: text.num_attention_heads });
        }
        if !divides(text.num_attention_heads, text.num_key_value_heads) {
            let (heads, kv_heads) = (text.num_attention_heads, text.num_key_value_heads);
            return Err(ConfigError::KeyValueHeads { heads, kv_heads });
        }
        if text.mrope_section.iter().sum::<usize>() != text.head_dim() / 2 {
            return Err(ConfigError::MropeSection { section: text.mrope_section, head_dim: text.head_dim() });
        }
        if !divides(vision.hidden_size, vision.num_heads) || !divides(vision.head_dim(), 4) {
            return Err(ConfigError::VisionHeads { hidden_size: vision.hidden_size, heads: vision.num_heads });
        }
        if vision.patch_size == 0 || vision.spatial_merge_size == 0 || self.window_tokens() == 0 {
            return Err(ConfigError::PatchSizes);
        }
        if vision.out_hidden_size != text.hidden_size {
            let (out_hidden_size, hidden_size) = (vision.out_hidden_size, text.hidden_size);
            return Err(ConfigError::Widths { out_hidden_size, hidden_size });
        }
        Ok(())
    }

    /// Side of an attention window in merged tokens.
    pub fn window_tokens(&self) -> usize {
        self.vision.window_size / self.vision.patch_size / self.vision.spatial_merge_size
    }
}

fn parse_text(root: &Value) -> Parsed<TextConfig> {
    let keys = given(root);
    let mut text: TextConfig = parse_section("text_config", keys.clone())?;
    if root.get("num_key_value_heads").is_some_and(Value::is_null) {
        text.num_key_value_heads = text.num_attention_heads;
    }
    check_activation("hidden_act", &keys)?;
    if slides(&keys, text.num_hidden_layers) {
        return Err(ConfigError::SlidingWindow);
    }
    let is_set = |value: &&Value| value.as_object().is_some_and(|map| !map.is_empty());
    let spread = Value::Null;
    let rope = ["rope_scaling", "rope_parameters"].iter().find_map(|key| keys.get(*key).filter(is_set));
    let rope = rope.unwrap_or(&spread);
    let kind = rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default");
    if !matches!(kind, "mrope" | "default") {
        return Err(ConfigError::RopeType { found: quote(kind) });
    }
    if let Some(theta) = rope.get("rope_theta").or_else(|| keys.get("rope_theta")).and_then(Value::as_f64) {
        text.rope_theta = theta;
    }
    if let Some(section) = rope.get("mrope_section") {
        let (key, value) = ("mrope_section".to_string(), quote(&section.to_string()));
        text.mrope_section = Deserialize::deserialize(section).map_err(|_| ConfigError::Value { key, value })?;
    }
    Ok(text)
}

fn parse_vision(root: &Value) -> Parsed<VisionConfig> {
    let mut keys = given(root);
    // The class takes these two, too.
    for (alias, name) in [("num_hidden_layers", "depth"), ("num_attention_heads", "num_heads")] {
        if let Some(value) = keys.get(alias).filter(|_| !keys.contains_key(name)) {
            keys.insert(name.to_string(), value.clone());
        }
    }
    check_activation("vision_config.hidden_act", &keys)?;
    parse_section("vision_config", keys)
}

/// The keys that have a value: with null, transformers' classes mean their default.
fn given(section: &Value) -> Map<String, Value> {
    let keys = section.as_object().into_iter().flatten();
    keys.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn parse_section<T: DeserializeOwned>(section: &'static str, keys: Map<String, Value>) -> Parsed<T> {
    T::deserialize(Value::Object(keys.clone())).map_err(|_| {
        // Every key has a default, so that each can be tried alone.
        let is_wrong = |(key, value): &(&String, &Value)| T::deserialize(json!({ *key: value })).is_err();
        let wrong = keys.iter().find(is_wrong);
        let (key, value) = wrong.map_or((section.to_string(), json!(keys).to_string()), |(key, value)| {
            (format!("{section}.{key}"), value.to_string())
        });
        ConfigError::Value { key, value: quote(&value) }
    })
}

fn check_activation(key: &'static str, keys: &Map<String, Value>) -> Parsed<()> {
    match keys.get("hidden_act") {
        Some(found) if found != "silu" => Err(ConfigError::Activation { key, found: quote(&found.to_string()) }),
        _ => Ok(()),
    }
}

/// Whether some layers see a part of the text only: `use_sliding_window` concerns those from `max_window_layers` on.
fn slides(keys: &Map<String, Value>, layers: usize) -> bool {
    let on = keys.get("use_sliding_window").and_then(Value::as_bool) == Some(true);
    let first = keys.get("max_window_layers").and_then(Value::as_u64).unwrap_or(80);
    let concerned = match keys.get("layer_types").and_then(Value::as_array) {
        Some(types) => types.iter().any(|kind| kind == "sliding_attention"),
        None => first < layers as u64,
    };
    on && concerned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat() -> Value {
        json!({
            "vocab_size": 100, "hidden_size": 64, "intermediate_size": 160,
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
            "text_config": text, "vision_config": flat["vision_config"],
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
    fn sections_must_fit_the_head() {
        let mut wrong = flat();
        wrong["rope_scaling"]["mrope_section"] = json!([16, 24, 24]);
        assert!(Config::parse(&wrong).unwrap_err().to_string().contains("[16, 24, 24]"));
    }

    #[test]
    fn both_names_of_the_channels_may_stand_there() {
        let mut saved = flat();
        saved["vision_config"]["in_channels"] = json!(3);
        assert_eq!(Config::parse(&saved).unwrap().vision, Config::parse(&flat()).unwrap().vision);
    }

    #[test]
    fn what_is_left_out_or_null_is_the_default_of_the_class() {
        let mut saved = flat();
        for key in ["patch_size", "spatial_merge_size", "window_size", "in_chans"] {
            saved["vision_config"].as_object_mut().unwrap().remove(key);
        }
        saved["vision_config"]["temporal_patch_size"] = Value::Null;
        saved.as_object_mut().unwrap().remove("rope_theta");
        let (found, expected) = (Config::parse(&saved).unwrap(), Config::parse(&flat()).unwrap());
        assert_eq!((found.vision, found.text), (expected.vision, expected.text));
        saved["num_key_value_heads"] = Value::Null;
        assert_eq!(Config::parse(&saved).unwrap().text.num_key_value_heads, 4);
    }

    #[test]
    fn tying_may_be_asked_for_in_either_place() {
        for (top, inner) in [(true, false), (false, true)] {
            let mut nested = flat();
            nested["text_config"] = flat();
            (nested["tie_word_embeddings"], nested["text_config"]["tie_word_embeddings"]) = (json!(top), json!(inner));
            assert!(Config::parse(&nested).unwrap().tie_word_embeddings);
        }
    }

    #[test]
    fn a_window_that_no_layer_has_is_none() {
        let mut config = flat();
        config["use_sliding_window"] = json!(true);
        assert!(Config::parse(&config).is_ok());
        config["max_window_layers"] = json!(2);
        assert!(matches!(Config::parse(&config), Err(ConfigError::SlidingWindow)));
        config["layer_types"] = json!(["full_attention", "full_attention", "full_attention"]);
        assert!(Config::parse(&config).is_ok());
    }

    #[test]
    fn a_value_of_another_kind_is_named() {
        let mut config = flat();
        config["vision_config"]["patch_size"] = json!("14");
        let message = Config::parse(&config).unwrap_err().to_string();
        assert!(message.contains(r#"vision_config.patch_size is "14""#), "{message}");
    }

    #[test]
    fn what_is_quoted_is_cut() {
        let long = "x".repeat(100_000);
        for (key, value) in [
            ("hidden_size", json!(long)),
            ("hidden_act", json!(long)),
            ("image_token_id", json!(long)),
            ("rope_scaling", json!({"type": long})),
        ] {
            let mut wrong = flat();
            wrong[key] = value;
            let message = Config::parse(&wrong).unwrap_err().to_string();
            assert!(message.len() < 400, "{key}: {} bytes", message.len());
        }
    }
}
