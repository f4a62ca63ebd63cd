//! Adapters with PEFT's rarer settings compute what PEFT computes, and are saved and exported as they are
//! (`reference/brought.py`).

use std::fs;
use std::path::Path;

use serde_json::Value;
use serde_json::json;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;

use crate::fixtures::Family;
use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::logits::Case;
use crate::own_head::last_logits;

const NAMES: [&str; 3] = ["patterns", "layers", "tied"];

/// The adapters of each family.
const ALL: [(Family, &[&str]); 3] = [
    (Family::Qwen2_5, &NAMES),
    (Family::Qwen2, &["tied", "tower"]),
    (Family::Qwen3, &["tied", "tower", "tower_and_merger"]),
];

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("adapter_config.json")).unwrap()).unwrap()
}

fn tensors(folder: &Path) -> Vec<(String, Vec<usize>)> {
    let tensors = candle_core::safetensors::load(folder.join("adapter_model.safetensors"), &candle_core::Device::Cpu);
    let mut shapes: Vec<_> =
        tensors.unwrap().into_iter().map(|(name, tensor)| (name, tensor.dims().to_vec())).collect();
    shapes.sort();
    shapes
}

#[test]
fn logits_are_pefts_before_and_after_saving_and_exporting() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    for (family, names) in ALL {
        let expected = Tensors::read(&family.path("brought/logits.safetensors"));
        let mut session = Session::default();
        session.load(&family.fixture("tiny"), &cx).unwrap();
        let case = Case::of(family, "picture", None);
        for name in names {
            let folder = family.fixture(&format!("brought/{name}"));
            let place = tempfile::tempdir().unwrap();
            let (saved, exported) = (place.path().join("saved"), place.path().join("exported"));
            session.adapter_load(&folder, None).unwrap();
            session.save(&saved).unwrap();
            session.export(&exported, None, &cx).unwrap();
            assert_eq!(tensors(&saved), tensors(&folder), "{family:?}, {name}");

            let with = |folder: &Path| last_logits(&case, Some(&case.model.net.load_adapter(folder).unwrap()));
            let merged = Case::of(family, "picture", Some(&exported));
            assert!(merged.model.net.text.is_tied());
            for (what, found) in [("", with(&folder)), ("saved", with(&saved)), ("merged", last_logits(&merged, None))]
            {
                let expected = expected.floats(name);
                let difference = max_difference(&found, &expected[expected.len() - found.len()..]);
                assert!(difference <= 2e-4, "{family:?}, {name} {what}: logits differ by {difference}");
            }
        }
    }
}

#[test]
fn what_peft_computes_by_is_saved_again() {
    let case = Case::load("picture");
    for name in NAMES {
        let folder = fixture(&format!("brought/{name}"));
        let saved = tempfile::tempdir().unwrap();
        let adapter = case.model.net.load_adapter(&folder).unwrap();
        adapter.save(saved.path(), &case.model.net.shape, "tiny").unwrap();
        let (found, expected) = (config(saved.path()), config(&folder));
        for key in ["r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora"] {
            assert_eq!(found[key], expected[key], "{name}: {key}");
        }
        let ties = |config: &Value| config["ensure_weight_tying"].as_bool().unwrap_or(false);
        assert_eq!((ties(&found), ties(&expected)), (name == "tied", name == "tied"));
    }
}

/// Each of the adapters trains on, and what it has learned is in the numbers that PEFT would read.
#[test]
fn they_train() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    for name in NAMES {
        let mut session = Session::default();
        let mut settings = session.settings().clone();
        settings.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
        for (key, value) in [("max_samples", "4"), ("batch", "2"), ("accum", "1"), ("lr", "1e-3")] {
            settings.set(key, value).unwrap();
        }
        session.set(settings);
        session.load(&fixture("tiny"), &cx).unwrap();
        session.data(&["creatures".to_string()], &cx).unwrap();
        session.adapter_load(&fixture(&format!("brought/{name}")), None).unwrap();
        let before = session.tensors(None).unwrap();
        session.train(Some(2), &cx).unwrap();
        let after = session.tensors(None).unwrap();
        assert!(before.iter().zip(&after).all(|(before, after)| before.values != after.values), "{name}");
    }
}

#[test]
fn patterns_that_mean_nothing_are_refused() {
    let case = Case::load("picture");
    for (key, value, parts) in [
        ("rank_pattern", json!({"q_proj": 0}), [r#"rank_pattern is {"q_proj":0}"#, "at least 1"]),
        ("alpha_pattern", json!({"q_proj": "16"}), ["alpha_pattern", "above 0"]),
        ("rank_pattern", json!({"layers.(1": 4}), ["layers.(1", "regular expression"]),
        ("rank_pattern", json!({"down_proj": 16}), ["down_proj.lora_A.weight", "adapter_config.json"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = fixture("brought/patterns");
        let mut edited = config(&source);
        edited[key] = value;
        fs::write(folder.path().join("adapter_config.json"), edited.to_string()).unwrap();
        fs::copy(source.join("adapter_model.safetensors"), folder.path().join("adapter_model.safetensors")).unwrap();
        let message = case.model.net.load_adapter(folder.path()).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}
