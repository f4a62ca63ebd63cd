//! `config.json` is read as every version of transformers reads what it saves (`reference/configs.py`).

use std::fs;

use serde_json::Value;
use serde_json::json;
use tunebook_nn::layers::TextConfig;
use tunebook_nn::layers::vision::VisionConfig;
use tunebook_nn::models::QwenConfig;
use tunebook_nn::models::qwen2_5_vl;
use tunebook_nn::models::qwen2_vl;
use tunebook_nn::models::qwen3_vl;

use crate::fixtures::Family;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::logits::Case;

fn versions(family: Family) -> Vec<(String, Value)> {
    let files = fs::read_dir(family.fixture("configs")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

fn parse(family: Family, config: &Value) -> QwenConfig {
    let parsed = match family {
        Family::Qwen2_5 => qwen2_5_vl::config::parse(config),
        Family::Qwen2 => qwen2_vl::config::parse(config),
        Family::Qwen3 => qwen3_vl::config::parse(config),
    };
    parsed.unwrap_or_else(|error| panic!("{family:?}: {error}"))
}

fn text(family: Family, config: &TextConfig) -> Value {
    let TextConfig { vocab_size, hidden_size, intermediate_size, num_hidden_layers, rms_norm_eps, .. } = config;
    let mut found = json!({
        "vocab_size": vocab_size, "hidden_size": hidden_size, "intermediate_size": intermediate_size,
        "num_hidden_layers": num_hidden_layers, "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads, "rms_norm_eps": rms_norm_eps,
        "rope_theta": config.rope_theta, "mrope_section": config.mrope_section,
    });
    if family == Family::Qwen3 {
        found["head_dim"] = json!(config.head_dim);
    }
    found
}

fn vision(family: Family, config: &VisionConfig) -> Value {
    let mut found = json!({
        "depth": config.depth, "num_heads": config.num_heads, "patch_size": config.patch_size,
        "temporal_patch_size": config.temporal_patch_size, "spatial_merge_size": config.spatial_merge_size,
        "in_channels": config.in_channels,
    });
    let own = match family {
        Family::Qwen2_5 => {
            let windows = config.windows.as_ref().unwrap();
            json!({
                "fullatt_block_indexes": windows.full_blocks,
                "window_size": windows.side * config.patch_size * config.spatial_merge_size,
            })
        }
        Family::Qwen2 => json!({
            "embed_dim": config.hidden_size, "hidden_size": config.out_hidden_size,
            "mlp_ratio": config.intermediate_size / config.hidden_size,
        }),
        Family::Qwen3 => json!({
            "num_position_embeddings": config.position_side.unwrap().pow(2),
            "deepstack_visual_indexes": config.deepstack_blocks,
        }),
    };
    if family != Family::Qwen2 {
        found["hidden_size"] = json!(config.hidden_size);
        found["intermediate_size"] = json!(config.intermediate_size);
        found["out_hidden_size"] = json!(config.out_hidden_size);
    }
    found.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    found
}

#[test]
fn every_version_of_transformers_writes_what_we_read() {
    for (family, count) in Family::ALL.into_iter().zip([6, 6, 3]) {
        let versions = versions(family);
        assert_eq!(versions.len(), count);
        for (version, file) in versions {
            for (name, case) in file["cases"].as_object().unwrap() {
                let config = parse(family, &case["config"]);
                let found = json!({
                    "text": text(family, &config.text), "vision": vision(family, &config.vision),
                    "image_token_id": config.image_token_id,
                    "vision_start_token_id": config.vision_start_token_id,
                    "tie_word_embeddings": config.tie_word_embeddings,
                });
                assert_eq!(found, case["expected"], "{family:?}, {version} {name}");
                assert_eq!(config.tie_word_embeddings, name != "own_head", "{version} {name}");
            }
        }
    }
}

#[test]
fn defaults_are_those_of_the_classes() {
    for family in Family::ALL {
        let defaults = if family == Family::Qwen3 { TextConfig::QWEN3 } else { TextConfig::QWEN2 };
        // A language model of the tower's default width.
        let sized = json!({"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4});
        let of_tower = parse(family, &sized).vision;
        for (version, file) in versions(family) {
            let mut expected = file["defaults"]["text"].clone();
            // The classes have none; the models of today take these.
            expected["mrope_section"] = json!(defaults.mrope_section);
            if family == Family::Qwen3 && version.starts_with("4.") {
                // transformers 5 has another default, and files have a value.
                expected["rope_theta"] = json!(defaults.rope_theta);
            }
            assert_eq!(text(family, &defaults), expected, "{family:?}, {version}");
            assert_eq!(vision(family, &of_tower), file["defaults"]["vision"], "{family:?}, {version}");
        }
    }
}

#[test]
fn the_tiny_checkpoint_has_its_logits_with_what_each_version_writes() {
    for (version, file) in versions(Family::Qwen2_5) {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixture("tiny")).unwrap().flatten() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        fs::write(folder.path().join("config.json"), file["cases"]["tied"]["config"].to_string()).unwrap();
        let case = Case::load_as("picture", Some(folder.path()));
        let logits: Vec<f32> = case.logits(None).flatten_all().unwrap().to_vec1().unwrap();
        let difference = max_difference(&logits, &case.expected.floats("logits"));
        assert!(difference <= 2e-4, "{version}: logits differ by {difference}");
    }
}
