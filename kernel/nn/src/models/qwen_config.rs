//! `config.json` of the Qwen-VL families, as transformers reads it: nested as it saves it since 4.52, or flat as the hub has
//! it; what the file leaves out is the default of transformers' classes, and keys that they do not know are passed over.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_quote::quote;

use crate::error::Result;
use crate::layers::Loader;
use crate::layers::TextConfig;
use crate::layers::vision::VisionConfig;
use crate::layers::vision::VisionTransformer;

use super::config_error::ConfigError;
use super::config_error::Parsed;
use super::family::ModelConfig;
use super::vision_tower::VisionTower;

/// Sizes and special token ids of a checkpoint.
#[derive(Clone, Debug)]
pub struct QwenConfig {
    pub text: TextConfig,
    pub vision: VisionConfig,
    pub image_token_id: u32,
    pub vision_start_token_id: u32,
    /// Whether the head is meant to be the embedding matrix or a matrix of its own. A checkpoint that has a head with other
    /// values than the embedding keeps it all the same.
    pub tie_word_embeddings: bool,
}

/// Keys of a section that have a value: with null, transformers' classes mean their default.
pub(super) type Keys = Map<String, Value>;

impl ModelConfig for QwenConfig {
    fn text(&self) -> &TextConfig {
        &self.text
    }

    fn vision(&self) -> &VisionConfig {
        &self.vision
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
        Ok(Box::new(VisionTransformer::load(&self.vision, loader)?))
    }
}

impl QwenConfig {
    /// Reads the contents of a `config.json`, whose sections `text` and `vision` read.
    ///
    /// # Errors
    /// A value that is not supported, by name.
    pub(super) fn parse(
        root: &Value,
        text: impl FnOnce(&Keys) -> Parsed<TextConfig>,
        vision: impl FnOnce(&Keys) -> Parsed<VisionConfig>,
    ) -> Parsed<Self> {
        let text_root = root.get("text_config").filter(|v| v.is_object()).unwrap_or(root);
        let token = |key: &'static str, default: u32| match root.get(key).unwrap_or(&Value::Null) {
            Value::Null => Ok(default),
            id => u32::deserialize(id).map_err(|_| ConfigError::TokenId { key, value: quote(&id.to_string()) }),
        };
        // transformers 5 keeps it at the top, 4.52 to 4.57 in text_config.
        let tied = |value: &Value| value.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false);
        let mut text_keys = keys(text_root);
        // Here the classes take null for a value of its own: that there are as many as queries.
        if text_root.get("num_key_value_heads").is_some_and(Value::is_null)
            && let Some(heads) = text_keys.get("num_attention_heads").cloned()
        {
            text_keys.insert("num_key_value_heads".to_string(), heads);
        }
        let config = Self {
            text: text(&text_keys)?,
            vision: vision(&keys(root.get("vision_config").unwrap_or(&Value::Null)))?,
            image_token_id: token("image_token_id", 151_655)?,
            vision_start_token_id: token("vision_start_token_id", 151_652)?,
            tie_word_embeddings: tied(root) || tied(text_root),
        };
        config.check()?;
        Ok(config)
    }

    /// Relations between sizes that the model's arithmetic relies on.
    fn check(&self) -> Parsed<()> {
        let (text, vision) = (&self.text, &self.vision);
        let divides = |a: usize, b: usize| b != 0 && a.is_multiple_of(b);
        if !divides(text.num_attention_heads, text.num_key_value_heads) {
            let (heads, kv_heads) = (text.num_attention_heads, text.num_key_value_heads);
            return Err(ConfigError::KeyValueHeads { heads, kv_heads });
        }
        if text.mrope_section.iter().sum::<usize>() != text.head_dim / 2 || !divides(text.head_dim, 2) {
            return Err(ConfigError::MropeSection { section: text.mrope_section, head_dim: text.head_dim });
        }
        if !divides(vision.hidden_size, vision.num_heads) || !divides(vision.head_dim(), 4) {
            return Err(ConfigError::VisionHeads { hidden_size: vision.hidden_size, heads: vision.num_heads });
        }
        let no_windows = vision.windows.as_ref().is_some_and(|windows| windows.side == 0);
        if vision.patch_size == 0 || vision.spatial_merge_size == 0 || no_windows {
            return Err(ConfigError::PatchSizes);
        }
        if vision.out_hidden_size != text.hidden_size {
            let (out_hidden_size, hidden_size) = (vision.out_hidden_size, text.hidden_size);
            return Err(ConfigError::Widths { out_hidden_size, hidden_size });
        }
        let blocks = &vision.deepstack_blocks;
        if blocks.len() >= text.num_hidden_layers || blocks.iter().any(|&block| block >= vision.depth) {
            return Err(ConfigError::DeepStack { indexes: quote(&json!(blocks).to_string()), depth: vision.depth });
        }
        Ok(())
    }
}

/// Keys of a text section; what is not there is the class's default.
#[derive(Deserialize)]
struct TextKeys {
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    rms_norm_eps: Option<f64>,
    max_position_embeddings: Option<usize>,
}

/// The text section, with a family's defaults, but for what only one family has.
pub(super) fn text(keys: &Keys, defaults: TextConfig) -> Parsed<TextConfig> {
    let read: TextKeys = section("text_config", keys)?;
    let heads = read.num_attention_heads.unwrap_or(defaults.num_attention_heads);
    let mut text = TextConfig {
        vocab_size: read.vocab_size.unwrap_or(defaults.vocab_size),
        hidden_size: read.hidden_size.unwrap_or(defaults.hidden_size),
        intermediate_size: read.intermediate_size.unwrap_or(defaults.intermediate_size),
        num_hidden_layers: read.num_hidden_layers.unwrap_or(defaults.num_hidden_layers),
        num_attention_heads: heads,
        num_key_value_heads: read.num_key_value_heads.unwrap_or(defaults.num_key_value_heads),
        rms_norm_eps: read.rms_norm_eps.unwrap_or(defaults.rms_norm_eps),
        max_position_embeddings: read.max_position_embeddings.unwrap_or(defaults.max_position_embeddings),
        ..defaults
    };
    check_activation("hidden_act", keys, "silu")?;
    if slides(keys, text.num_hidden_layers) {
        return Err(ConfigError::SlidingWindow);
    }
    let is_set = |value: &&Value| value.as_object().is_some_and(|map| !map.is_empty());
    let rope = ["rope_scaling", "rope_parameters"].iter().find_map(|key| keys.get(*key).filter(is_set));
    let rope = rope.unwrap_or(&Value::Null);
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

/// The text section of Qwen2-VL and Qwen2.5-VL, which are the same.
pub(super) fn qwen2_text(keys: &Keys) -> Parsed<TextConfig> {
    let mut text = text(keys, TextConfig::QWEN2)?;
    let heads = text.num_attention_heads;
    if heads == 0 || !text.hidden_size.is_multiple_of(heads) {
        return Err(ConfigError::Heads { hidden_size: text.hidden_size, heads });
    }
    text.head_dim = text.hidden_size / heads;
    Ok(text)
}

/// The keys of a section that have a value.
fn keys(section: &Value) -> Keys {
    let keys = section.as_object().into_iter().flatten();
    keys.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What a section says, in a type every key of which may be left out.
pub(super) fn section<T: DeserializeOwned>(name: &'static str, keys: &Keys) -> Parsed<T> {
    T::deserialize(Value::Object(keys.clone())).map_err(|_| {
        let is_wrong = |(key, value): &(&String, &Value)| T::deserialize(json!({ *key: value })).is_err();
        let wrong = keys.iter().find(is_wrong);
        let (key, value) = wrong.map_or((name.to_string(), json!(keys).to_string()), |(key, value)| {
            (format!("{name}.{key}"), value.to_string())
        });
        ConfigError::Value { key, value: quote(&value) }
    })
}

pub(super) fn check_activation(key: &'static str, keys: &Keys, supported: &'static str) -> Parsed<()> {
    match keys.get("hidden_act") {
        Some(found) if found != supported => {
            Err(ConfigError::Activation { key, found: quote(&found.to_string()), supported })
        }
        _ => Ok(()),
    }
}

/// Whether some layers see a part of the text only: `use_sliding_window` concerns those from `max_window_layers` on.
fn slides(keys: &Keys, layers: usize) -> bool {
    let on = keys.get("use_sliding_window").and_then(Value::as_bool) == Some(true);
    let first = keys.get("max_window_layers").and_then(Value::as_u64).unwrap_or(80);
    let concerned = match keys.get("layer_types").and_then(Value::as_array) {
        Some(types) => types.iter().any(|kind| kind == "sliding_attention"),
        None => first < layers as u64,
    };
    on && concerned
}
