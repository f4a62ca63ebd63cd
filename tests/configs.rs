//! `config.json` is read as every version of transformers reads what it saves (`reference/configs.py`).

use std::fs;

use serde_json::Value;
use serde_json::json;
use tunebook_nn::layers::TextConfig;
use tunebook_nn::layers::vision::VisionConfig;
use tunebook_nn::models::qwen2_5_vl::config::parse;

use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::logits::Case;

fn versions() -> Vec<(String, Value)> {
    let files = fs::read_dir(fixture("configs")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

fn text(config: &TextConfig) -> Value {
    let TextConfig { vocab_size, hidden_size, intermediate_size, num_hidden_layers, rms_norm_eps, .. } = config;
    json!({
        "vocab_size": vocab_size, "hidden_size": hidden_size, "intermediate_size": intermediate_size,
        "num_hidden_layers": num_hidden_layers, "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads, "rms_norm_eps": rms_norm_eps,
        "rope_theta": config.rope_theta, "mrope_section": config.mrope_section,
    })
}

fn vision(config: &VisionConfig) -> Value {
    let windows = config.windows.as_ref().unwrap();
    json!({
        "depth": config.depth, "hidden_size": config.hidden_size, "num_heads": config.num_heads,
        "intermediate_size": config.intermediate_size, "out_hidden_size": config.out_hidden_size,
        "patch_size": config.patch_size, "temporal_patch_size": config.temporal_patch_size,
        "spatial_merge_size": config.spatial_merge_size, "fullatt_block_indexes": windows.full_blocks,
        "window_size": windows.side * config.patch_size * config.spatial_merge_size, "in_channels": config.in_channels,
    })
}

#[test]
fn every_version_of_transformers_writes_what_we_read() {
    let versions = versions();
    assert_eq!(versions.len(), 6);
    for (version, file) in versions {
        for (name, case) in file["cases"].as_object().unwrap() {
            let config = parse(&case["config"]).unwrap_or_else(|error| panic!("{version} {name}: {error}"));
            let found = json!({
                "text": text(&config.text), "vision": vision(&config.vision), "image_token_id": config.image_token_id,
                "vision_start_token_id": config.vision_start_token_id,
                "tie_word_embeddings": config.tie_word_embeddings,
            });
            assert_eq!(found, case["expected"], "{version} {name}");
            assert_eq!(config.tie_word_embeddings, name != "own_head", "{version} {name}");
        }
    }
}

#[test]
fn defaults_are_those_of_the_classes() {
    for (version, file) in versions() {
        let mut expected = file["defaults"]["text"].clone();
        // The classes have none; the model of today takes this one.
        expected["mrope_section"] = json!([16, 24, 24]);
        assert_eq!(text(&TextConfig::QWEN2), expected, "{version}");
        // Of a language model that has the tower's default width.
        let sized = json!({"hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4});
        assert_eq!(vision(&parse(&sized).unwrap().vision), file["defaults"]["vision"], "{version}");
    }
}

#[test]
fn the_tiny_checkpoint_has_its_logits_with_what_each_version_writes() {
    for (version, file) in versions() {
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
