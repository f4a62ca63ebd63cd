//! What config.json of a Qwen2-VL checkpoint says.

use serde::Deserialize;
use serde_json::Value;

use crate::layers::vision::FeedForwardKind;
use crate::layers::vision::MergerNames;
use crate::layers::vision::NormKind;
use crate::layers::vision::VisionConfig;
use crate::models::Parsed;
use crate::models::qwen_config::Keys;
use crate::models::qwen_config::QwenConfig;
use crate::models::qwen_config::check_activation;
use crate::models::qwen_config::qwen2_text;
use crate::models::qwen_config::section;
use crate::ops::Activation;

/// Reads the contents of a `config.json`.
///
/// # Errors
/// A value that is not supported, by name.
pub fn parse(root: &Value) -> Parsed<QwenConfig> {
    QwenConfig::parse(root, qwen2_text, vision)
}

/// The vision section, with the defaults of transformers' `Qwen2VLVisionConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct VisionKeys {
    depth: usize,
    /// The tower's width.
    embed_dim: usize,
    /// The language model's width.
    hidden_size: usize,
    /// The width of the feed-forward, in widths of the tower.
    mlp_ratio: f64,
    num_heads: usize,
    patch_size: usize,
    temporal_patch_size: usize,
    spatial_merge_size: usize,
    in_channels: usize,
}

impl Default for VisionKeys {
    fn default() -> Self {
        Self {
            depth: 32,
            embed_dim: 1280,
            hidden_size: 3584,
            mlp_ratio: 4.0,
            num_heads: 16,
            patch_size: 14,
            temporal_patch_size: 2,
            spatial_merge_size: 2,
            in_channels: 3,
        }
    }
}

fn vision(keys: &Keys) -> Parsed<VisionConfig> {
    check_activation("vision_config.hidden_act", keys, "quick_gelu")?;
    let read: VisionKeys = section("vision_config", keys)?;
    Ok(VisionConfig {
        depth: read.depth,
        hidden_size: read.embed_dim,
        num_heads: read.num_heads,
        intermediate_size: (read.embed_dim as f64 * read.mlp_ratio) as usize,
        out_hidden_size: read.hidden_size,
        patch_size: read.patch_size,
        temporal_patch_size: read.temporal_patch_size,
        spatial_merge_size: read.spatial_merge_size,
        in_channels: read.in_channels,
        norm: NormKind::Layer,
        feed_forward: FeedForwardKind::TwoLayers { names: ["fc1", "fc2"], activation: Activation::QuickGelu },
        windows: None,
        patch_bias: false,
        position_side: None,
        merger: MergerNames { norm: "ln_q", first: "mlp.0", second: "mlp.2" },
        deepstack_blocks: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_towers_width_is_embed_dim_and_hidden_size_that_of_the_language_model() {
        let config = json!({
            "hidden_size": 1536, "num_attention_heads": 12, "num_key_value_heads": 2,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
            "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "mlp_ratio": 4, "num_heads": 16,
                "in_chans": 3, "hidden_act": "quick_gelu"}
        });
        let vision = parse(&config).unwrap().vision;
        assert_eq!((vision.hidden_size, vision.out_hidden_size, vision.intermediate_size), (1280, 1536, 5120));
    }

    #[test]
    fn another_activation_is_refused() {
        let message = parse(&json!({"vision_config": {"hidden_act": "silu"}})).unwrap_err().to_string();
        assert!(message.contains("silu") && message.contains("quick_gelu"), "{message}");
    }
}
