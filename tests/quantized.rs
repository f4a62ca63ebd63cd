//! Training on quantized weights is LLaMA-Factory's on the same weights, quantized by bitsandbytes and decoded
//! (`reference/quantize.py`).

use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_engine::settings::QuantizationBit;

use crate::fixtures::fixture;

fn check(bit: &str, quantized: QuantizationBit) {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = Session::default();
    let mut settings = session.settings().clone();
    for (key, value) in [
        ("quantization_bit", bit),
        ("dataset_dir", fixture("train").to_str().unwrap()),
        ("cutoff_len", "512"),
        ("disable_shuffling", "true"),
        ("per_device_train_batch_size", "2"),
        ("gradient_accumulation_steps", "4"),
        ("learning_rate", "0.001"),
        ("num_train_epochs", "4.0"),
        ("lr_scheduler_type", "linear"),
        ("warmup_steps", "3"),
        ("weight_decay", "0.1"),
        ("max_grad_norm", "2.2"),
    ] {
        settings.set(key, value).unwrap();
    }
    session.set(settings);
    session.load(&fixture("tiny"), &cx).unwrap();
    assert_eq!(session.status().model.unwrap().quantized, Some(quantized));
    session.data(&["creatures".to_string()], &cx).unwrap();
    session.adapter_load(&fixture("train/adapter_nonzero"), None).unwrap();
    session.train(None, &cx).unwrap();

    let steps = std::fs::read(fixture(&format!("quantize/steps_{bit}.json"))).unwrap();
    let steps: Value = serde_json::from_slice(&steps).unwrap();
    let expected = steps["steps"].as_array().unwrap();
    assert_eq!(session.history().len(), expected.len());
    for (found, expected) in session.history().iter().zip(expected) {
        for (key, found_value) in [("loss", found.loss()), ("grad_norm", found.grad_norm)] {
            let expected = expected[key].as_f64().unwrap();
            let relative = (found_value - expected).abs() / expected;
            assert!(relative <= 1e-4, "{bit} bits, step {}: {key} is {found_value}, not {expected}", found.step);
        }
    }
}

#[test]
fn four_bits_train_as_the_weights_that_they_stand_for() {
    check("4", QuantizationBit::Four);
}

#[test]
fn eight_bits_train_as_the_weights_that_they_stand_for() {
    check("8", QuantizationBit::Eight);
}

#[test]
fn quantizing_can_be_stopped() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = Session::default();
    session.load(&fixture("tiny"), &cx).unwrap();
    let mut settings = session.settings().clone();
    settings.set("quantization_bit", "4").unwrap();
    session.set(settings);
    cancel.cancel();
    assert_eq!(session.load(&fixture("tiny"), &cx).unwrap_err().to_string(), "stopped");
    assert_eq!(session.status().model.unwrap().quantized, None, "the model of before is still there");
}
