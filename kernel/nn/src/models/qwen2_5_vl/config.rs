//! What config.json of a Qwen2.5-VL checkpoint says.

use serde::Deserialize;
use serde_json::Value;

use crate::layers::vision::FeedForwardKind;
use crate::layers::vision::MergerNames;
use crate::layers::vision::NormKind;
use crate::layers::vision::VisionConfig;
use crate::layers::vision::WindowAttention;
use crate::models::Parsed;
use crate::models::qwen_config::Keys;
use crate::models::qwen_config::QwenConfig;
use crate::models::qwen_config::check_activation;
use crate::models::qwen_config::qwen2_text;
use crate::models::qwen_config::section;

/// Reads the contents of a `config.json`.
///
/// # Errors
/// A value that is not supported, by name.
pub fn parse(root: &Value) -> Parsed<QwenConfig> {
    QwenConfig::parse(root, qwen2_text, vision)
}

/// The vision section, with the defaults of transformers' `Qwen2_5_VLVisionConfig`.
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
    /// Side of an attention window, in pixels.
    window_size: usize,
    /// The blocks that attend over the whole picture instead of windows.
    fullatt_block_indexes: Vec<usize>,
    /// The files' `in_chans` is none of the class's names.
    in_channels: usize,
}

impl Default for VisionKeys {
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

fn vision(keys: &Keys) -> Parsed<VisionConfig> {
    let mut keys = keys.clone();
    // The class takes these two, too.
    for (alias, name) in [("num_hidden_layers", "depth"), ("num_attention_heads", "num_heads")] {
        if let Some(value) = keys.get(alias).filter(|_| !keys.contains_key(name)) {
            keys.insert(name.to_string(), value.clone());
        }
    }
    check_activation("vision_config.hidden_act", &keys, "silu")?;
    let read: VisionKeys = section("vision_config", &keys)?;
    let token = (read.patch_size * read.spatial_merge_size).max(1);
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
        norm: NormKind::Rms,
        feed_forward: FeedForwardKind::SwiGlu,
        windows: Some(WindowAttention { side: read.window_size / token, full_blocks: read.fullatt_block_indexes }),
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
    use crate::models::ConfigError;

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
        let (a, b) = (parse(&flat).unwrap(), parse(&nested).unwrap());
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
        assert!(a.tie_word_embeddings);
        assert_eq!(a.text.mrope_section, [2, 3, 3]);
        assert_eq!(a.vision.patch_values(), 1176);
        assert_eq!(a.vision.windows.clone().unwrap().side, 4);
    }

    #[test]
    fn sections_must_fit_the_head() {
        let mut wrong = flat();
        wrong["rope_scaling"]["mrope_section"] = json!([16, 24, 24]);
        assert!(parse(&wrong).unwrap_err().to_string().contains("[16, 24, 24]"));
    }

    #[test]
    fn both_names_of_the_channels_may_stand_there() {
        let mut saved = flat();
        saved["vision_config"]["in_channels"] = json!(3);
        assert_eq!(parse(&saved).unwrap().vision, parse(&flat()).unwrap().vision);
    }

    #[test]
    fn what_is_left_out_or_null_is_the_default_of_the_class() {
        let mut saved = flat();
        for key in ["patch_size", "spatial_merge_size", "window_size", "in_chans"] {
            saved["vision_config"].as_object_mut().unwrap().remove(key);
        }
        saved["vision_config"]["temporal_patch_size"] = Value::Null;
        saved.as_object_mut().unwrap().remove("rope_theta");
        let (found, expected) = (parse(&saved).unwrap(), parse(&flat()).unwrap());
        assert_eq!((found.vision, found.text), (expected.vision, expected.text));
        saved["num_key_value_heads"] = Value::Null;
        assert_eq!(parse(&saved).unwrap().text.num_key_value_heads, 4);
    }

    #[test]
    fn tying_may_be_asked_for_in_either_place() {
        for (top, inner) in [(true, false), (false, true)] {
            let mut nested = flat();
            nested["text_config"] = flat();
            (nested["tie_word_embeddings"], nested["text_config"]["tie_word_embeddings"]) = (json!(top), json!(inner));
            assert!(parse(&nested).unwrap().tie_word_embeddings);
        }
    }

    #[test]
    fn a_window_that_no_layer_has_is_none() {
        let mut config = flat();
        config["use_sliding_window"] = json!(true);
        assert!(parse(&config).is_ok());
        config["max_window_layers"] = json!(2);
        assert!(matches!(parse(&config), Err(ConfigError::SlidingWindow)));
        config["layer_types"] = json!(["full_attention", "full_attention", "full_attention"]);
        assert!(parse(&config).is_ok());
    }

    #[test]
    fn a_value_of_another_kind_is_named() {
        let mut config = flat();
        config["vision_config"]["patch_size"] = json!("14");
        let message = parse(&config).unwrap_err().to_string();
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
            let message = parse(&wrong).unwrap_err().to_string();
            assert!(message.len() < 400, "{key}: {} bytes", message.len());
        }
    }
}
