//! What config.json of a Qwen3-VL checkpoint says.

use serde::Deserialize;
use serde_json::Value;

use crate::layers::TextConfig;
use crate::layers::vision::FeedForwardKind;
use crate::layers::vision::MergerNames;
use crate::layers::vision::NormKind;
use crate::layers::vision::VisionConfig;
use crate::models::ConfigError;
use crate::models::Parsed;
use crate::models::qwen_config::Keys;
use crate::models::qwen_config::QwenConfig;
use crate::models::qwen_config::check_activation;
use crate::models::qwen_config::section;
use crate::ops::Activation;

/// Reads the contents of a `config.json`.
///
/// # Errors
/// A value that is not supported, by name.
pub fn parse(root: &Value) -> Parsed<QwenConfig> {
    QwenConfig::parse(root, text, vision)
}

/// What the text section has beside the keys of all families.
#[derive(Deserialize)]
struct TextKeys {
    head_dim: Option<usize>,
    attention_bias: Option<bool>,
}

fn text(keys: &Keys) -> Parsed<TextConfig> {
    let text = crate::models::qwen_config::text(keys, TextConfig::QWEN3)?;
    let read: TextKeys = section("text_config", keys)?;
    let bias = read.attention_bias.unwrap_or(false);
    Ok(TextConfig { head_dim: read.head_dim.unwrap_or(text.head_dim), qkv_bias: bias, o_bias: bias, ..text })
}

/// The vision section, with the defaults of transformers' `Qwen3VLVisionConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct VisionKeys {
    depth: usize,
    hidden_size: usize,
    num_heads: usize,
    intermediate_size: usize,
    out_hidden_size: usize,
    patch_size: usize,
    temporal_patch_size: usize,
    spatial_merge_size: usize,
    in_channels: usize,
    /// Of a square.
    num_position_embeddings: usize,
    deepstack_visual_indexes: Vec<usize>,
}

impl Default for VisionKeys {
    fn default() -> Self {
        Self {
            depth: 27,
            hidden_size: 1152,
            num_heads: 16,
            intermediate_size: 4304,
            out_hidden_size: 3584,
            patch_size: 16,
            temporal_patch_size: 2,
            spatial_merge_size: 2,
            in_channels: 3,
            num_position_embeddings: 2304,
            deepstack_visual_indexes: vec![8, 16, 24],
        }
    }
}

fn vision(keys: &Keys) -> Parsed<VisionConfig> {
    check_activation("vision_config.hidden_act", keys, "gelu_pytorch_tanh")?;
    let read: VisionKeys = section("vision_config", keys)?;
    let side = read.num_position_embeddings.isqrt();
    if side == 0 || side * side != read.num_position_embeddings {
        return Err(ConfigError::PositionEmbeddings { found: read.num_position_embeddings });
    }
    Ok(VisionConfig {
        depth: read.depth,
        hidden_size: read.hidden_size,
        num_heads: read.num_heads,
        intermediate_size: read.intermediate_size,
        out_hidden_size: read.out_hidden_size,
        patch_size: read.patch_size,
        temporal_patch_size: read.temporal_patch_size,
        spatial_merge_size: read.spatial_merge_size,
        in_channels: read.in_channels,
        norm: NormKind::Layer,
        feed_forward: FeedForwardKind::TwoLayers {
            names: ["linear_fc1", "linear_fc2"],
            activation: Activation::GeluTanh,
        },
        windows: None,
        patch_bias: true,
        position_side: Some(side),
        merger: MergerNames { norm: "norm", first: "linear_fc1", second: "linear_fc2" },
        deepstack_blocks: read.deepstack_visual_indexes,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Value {
        json!({
            "text_config": {"hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
                "head_dim": 128, "rope_theta": 5e6, "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20],
                "mrope_interleaved": true}},
            "vision_config": {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2560,
                "deepstack_visual_indexes": [5, 11, 17]}
        })
    }

    #[test]
    fn heads_may_be_wider_together_than_the_model() {
        let text = parse(&config()).unwrap().text;
        assert_eq!((text.head_dim * text.num_attention_heads, text.hidden_size), (4096, 2560));
        assert_eq!((text.rope_theta, text.qkv_bias, text.qk_norm), (5e6, false, true));
    }

    #[test]
    fn positions_lie_in_a_square_and_features_leave_the_tower_where_it_has_blocks() {
        let vision = parse(&config()).unwrap().vision;
        assert_eq!((vision.position_side, vision.feature_width()), (Some(48), 4 * 2560));
        let problem = |key: &str, value: Value| {
            let mut config = config();
            config["vision_config"][key] = value;
            parse(&config).unwrap_err().to_string()
        };
        assert!(problem("num_position_embeddings", json!(2300)).contains("2300"));
        assert!(problem("deepstack_visual_indexes", json!([5, 24])).contains("[5,24]"));
    }
}
