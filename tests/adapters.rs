//! Adapters go both ways between tunebook and PEFT.

use std::collections::HashMap;
use std::path::PathBuf;

use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_nn::adapter::Adapter;

use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::logits::Case;

#[test]
fn an_adapter_that_peft_saved_gives_pefts_logits() {
    let case = Case::load("picture");
    for run in ["cosine", "linear_warmup", "two_pictures"] {
        let adapter = Adapter::load(&fixture(&format!("train/{run}/adapter")), &case.model.net.shape).unwrap();
        let found: Vec<f32> = case.logits(Some(&adapter)).flatten_all().unwrap().to_vec1().unwrap();
        let expected = Tensors::read(&format!("train/{run}/logits.safetensors")).floats("logits");
        let difference = max_difference(&found, &expected);
        assert!(difference <= 2e-4, "{run}: logits differ by {difference}");
        let moved = max_difference(&found, &case.expected.floats("logits"));
        assert!(moved > 0.1, "{run}: the adapter changes nothing");
    }
}

/// Leaves `adapter/` and `logits.safetensors` behind for `reference/check_adapter.py`, by which Python's PEFT computes
/// the same logits.
#[test]
fn an_adapter_that_we_saved_gives_the_same_logits_again() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("check_adapter");
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = Session::default();
    let mut settings = session.settings().clone();
    settings.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
    for (key, value) in [("lr", "1e-2"), ("batch", "2"), ("accum", "2"), ("lora_alpha", "24"), ("dropout", "0.1")] {
        settings.set(key, value).unwrap();
    }
    session.set(settings);
    session.load(&fixture("tiny"), &cx).unwrap();
    session.data(&["creatures".to_string()], &cx).unwrap();
    session.lora(None, &cx).unwrap();
    session.train(Some(6), &cx).unwrap();
    session.save(&folder.join("adapter")).unwrap();

    let case = Case::load("picture");
    let adapter = Adapter::load(&folder.join("adapter"), &case.model.net.shape).unwrap();
    let logits = case.logits(Some(&adapter));
    candle_core::safetensors::save(&HashMap::from([("logits", logits.clone())]), folder.join("logits.safetensors"))
        .unwrap();

    // The same once more, through a session that loads the folder, saves it, and is read again.
    session.adapter_load(&folder.join("adapter"), Some("again")).unwrap();
    session.save(&folder.join("again")).unwrap();
    let again = Adapter::load(&folder.join("again"), &case.model.net.shape).unwrap();
    let flat = |tensor: candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let found = flat(case.logits(Some(&again)));
    assert_eq!(found, flat(logits));
    assert!(max_difference(&found, &case.expected.floats("logits")) > 0.1, "the adapter changes nothing");
}
