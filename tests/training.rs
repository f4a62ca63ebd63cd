//! Loss, gradient norm and learning rate of every step, and the trained adapter, are LLaMA-Factory's
//! (`reference/train.py`: the real program, from the same initial adapter, in float32).

use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;

use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;

const RELATIVE: f64 = 1e-5;

/// A session on the tiny checkpoint with the settings of `train/{run}/recipe.yaml` and its initial adapter.
fn prepare(data: &str, adapter: &str, settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    chosen.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
    let common = [
        ("cutoff_len", "512"),
        ("disable_shuffling", "true"),
        ("per_device_train_batch_size", "2"),
        ("gradient_accumulation_steps", "4"),
        ("learning_rate", "0.001"),
        ("seed", "42"),
        ("num_train_epochs", "4.0"),
    ];
    for (key, value) in common.iter().chain(settings) {
        chosen.set(key, value).unwrap();
    }
    session.set(chosen);
    session.load(&fixture("tiny"), cx).unwrap();
    session.data(&[data.to_string()], cx).unwrap();
    session.adapter_load(&fixture(&format!("train/{adapter}")), None).unwrap();
    session
}

fn check(run: &str, data: &str, adapter: &str, settings: &[(&str, &str)]) {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = prepare(data, adapter, settings, &cx);
    // In two calls: going on is the same as not stopping.
    session.train(Some(5), &cx).unwrap();
    session.train(None, &cx).unwrap();

    let reference: Value =
        serde_json::from_slice(&std::fs::read(fixture(&format!("train/{run}/steps.json"))).unwrap()).unwrap();
    let expected = reference["steps"].as_array().unwrap();
    assert_eq!(session.history().len(), expected.len());
    let mut worst = 0f64;
    for (found, expected) in session.history().iter().zip(expected) {
        let figures = [
            ("loss", found.loss),
            ("grad_norm", found.grad_norm),
            ("learning_rate", found.learning_rate),
            ("epoch", found.epoch),
        ];
        for (key, found_value) in figures {
            let expected = expected[key].as_f64().unwrap();
            let relative = (found_value - expected).abs() / expected.abs().max(1e-12);
            if expected != 0.0 {
                worst = worst.max(relative);
            }
            assert!(
                found_value == expected || relative <= RELATIVE,
                "{run}, step {}: {key} is {found_value}, should be {expected}",
                found.step
            );
        }
    }
    println!("{run}: {} steps within {worst:.1e}", expected.len());

    let folder = tempfile::tempdir().unwrap();
    session.save(folder.path()).unwrap();
    let trained =
        candle_core::safetensors::load(folder.path().join("adapter_model.safetensors"), &candle_core::Device::Cpu)
            .unwrap();
    let reference = Tensors::read(&format!("train/{run}/adapter/adapter_model.safetensors"));
    for (name, tensor) in trained {
        let found: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let difference = max_difference(&found, &reference.floats(&name));
        assert!(difference <= 2e-4, "{run}: {name} differs by {difference}");
    }
}

#[test]
fn cosine_with_clipping_and_an_epoch_that_ends_inside_a_window() {
    check("cosine", "creatures", "adapter_zero", &[("lr_scheduler_type", "cosine"), ("max_grad_norm", "0.5")]);
}

#[test]
fn linear_with_warmup_and_weight_decay() {
    check(
        "linear_warmup",
        "creatures",
        "adapter_nonzero",
        &[("lr_scheduler_type", "linear"), ("warmup_steps", "3"), ("weight_decay", "0.1"), ("max_grad_norm", "2.2")],
    );
}

#[test]
fn two_pictures_in_a_sample() {
    check("two_pictures", "pairs", "adapter_nonzero", &[("lr_scheduler_type", "cosine"), ("num_train_epochs", "6.0")]);
}
