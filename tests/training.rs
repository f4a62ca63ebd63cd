//! Loss, gradient norm and learning rate of every step, and what they lead to, are LLaMA-Factory's for every method of
//! training (`reference/train.py`: the real program, from the same initial state, in float32).

use std::collections::HashMap;
use std::sync::Mutex;

use candle_core::Device;
use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_nn::adapter::Adapter;

use crate::fixtures::Family;
use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::logits::Case;

const RELATIVE: f64 = 1e-5;

/// What a run trains.
#[derive(Clone, Copy)]
enum Start {
    /// This adapter of `fixtures/train`.
    Adapter(&'static str),
    /// A new LoRA adapter.
    Lora,
    Freeze,
    Full,
}

/// A session on the tiny checkpoint with the settings of `train/{run}/recipe.yaml` and its initial state.
fn prepare(family: Family, data: &str, start: Start, settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    chosen.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
    chosen.set("template", family.template().name).unwrap();
    let common = [
        ("cutoff_len", "512"),
        ("disable_shuffling", "true"),
        ("per_device_train_batch_size", "2"),
        ("gradient_accumulation_steps", "4"),
        ("learning_rate", "0.001"),
        ("seed", "42"),
        ("num_train_epochs", if data == "pairs" { "6.0" } else { "4.0" }),
    ];
    for (key, value) in common.iter().chain(settings) {
        chosen.set(key, value).unwrap();
    }
    session.set(chosen);
    session.load(&family.fixture("tiny"), cx).unwrap();
    session.data(&[data.to_string()], cx).unwrap();
    match start {
        Start::Adapter(name) => session.adapter_load(&family.fixture(&format!("train/{name}")), None),
        Start::Lora => session.lora(None, cx),
        Start::Freeze => session.freeze(None),
        Start::Full => session.full(None),
    }
    .unwrap();
    session
}

/// Trains every family that has this run, and compares every step.
fn check_others(run: &str, data: &str, start: Start, settings: &[(&str, &str)]) {
    for family in [Family::Qwen2, Family::Qwen3] {
        let session = check_family(family, run, data, start, settings);
        if matches!(start, Start::Adapter(_)) {
            check_logits_of_saved_adapter(family, run, session);
        }
    }
}

/// Trains as `train/{run}` was trained, and compares every step. Gives the session, trained.
fn check(run: &str, data: &str, start: Start, settings: &[(&str, &str)]) -> Session {
    check_family(Family::Qwen2_5, run, data, start, settings)
}

fn check_family(family: Family, run: &str, data: &str, start: Start, settings: &[(&str, &str)]) -> Session {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = prepare(family, data, start, settings, &cx);
    // In two calls: going on is the same as not stopping.
    session.train(Some(5), &cx).unwrap();
    session.train(None, &cx).unwrap();

    let reference: Value =
        serde_json::from_slice(&std::fs::read(family.fixture(&format!("train/{run}/steps.json"))).unwrap()).unwrap();
    let expected = reference["steps"].as_array().unwrap();
    assert_eq!(session.history().len(), expected.len());
    let mut worst = 0f64;
    for (found, expected) in session.history().iter().zip(expected) {
        let figures = [
            ("loss", found.loss()),
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
                "{family:?}, {run}, step {}: {key} is {found_value}, should be {expected}",
                found.step
            );
        }
    }
    println!("{family:?}, {run}: {} steps within {worst:.1e}", expected.len());
    session
}

/// Saves what was trained, and compares its tensors with those that LLaMA-Factory saved.
fn check_adapter(run: &str, mut session: Session) {
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

/// Saves an adapter, loads it again, and compares its logits at the last position.
fn check_logits_of_saved_adapter(family: Family, run: &str, mut session: Session) {
    let folder = tempfile::tempdir().unwrap();
    session.save(folder.path()).unwrap();
    let case = Case::of(family, "picture", None);
    let adapter = case.model.net.load_adapter(folder.path()).unwrap();
    check_logits(family, run, &case, Some(&adapter));
}

fn check_logits(family: Family, run: &str, case: &Case, adapter: Option<&Adapter>) {
    let logits = case.logits(adapter);
    let last = logits.narrow(0, logits.dims()[0] - 1, 1).unwrap();
    let found: Vec<f32> = last.flatten_all().unwrap().to_vec1().unwrap();
    let expected = Tensors::read(&family.path(&format!("train/{run}/logits.safetensors"))).floats("logits");
    let difference = max_difference(&found, &expected[expected.len() - found.len()..]);
    assert!(difference <= 2e-4, "{family:?}, {run}: logits differ by {difference}");
}

#[test]
fn cosine_with_clipping_and_an_epoch_that_ends_inside_a_window() {
    let settings = [("lr_scheduler_type", "cosine"), ("max_grad_norm", "0.5")];
    check_adapter("cosine", check("cosine", "creatures", Start::Adapter("adapter_zero"), &settings));
    check_others("cosine", "creatures", Start::Adapter("adapter_zero"), &settings);
}

#[test]
fn linear_with_warmup_and_weight_decay() {
    let settings =
        [("lr_scheduler_type", "linear"), ("warmup_steps", "3"), ("weight_decay", "0.1"), ("max_grad_norm", "2.2")];
    check_adapter("linear_warmup", check("linear_warmup", "creatures", Start::Adapter("adapter_nonzero"), &settings));
}

#[test]
fn two_pictures_in_a_sample() {
    let settings = [("lr_scheduler_type", "cosine")];
    check_adapter("two_pictures", check("two_pictures", "pairs", Start::Adapter("adapter_nonzero"), &settings));
    check_others("two_pictures", "pairs", Start::Adapter("adapter_nonzero"), &settings);
}

#[test]
fn loraplus() {
    let settings = [
        ("learning_rate", "1e-4"),
        ("loraplus_lr_ratio", "16"),
        ("lr_scheduler_type", "polynomial"),
        ("warmup_steps", "2"),
        ("weight_decay", "0.1"),
    ];
    let session = check("loraplus", "creatures", Start::Adapter("adapter_nonzero"), &settings);
    check_logits_of_saved_adapter(Family::Qwen2_5, "loraplus", session);
}

#[test]
fn rslora() {
    let settings = [("lr_scheduler_type", "inverse_sqrt"), ("warmup_steps", "2")];
    let session = check("rslora", "creatures", Start::Adapter("adapter_rslora"), &settings);
    check_logits_of_saved_adapter(Family::Qwen2_5, "rslora", session);
}

#[test]
fn dora() {
    let settings = [("lr_scheduler_type", "warmup_stable_decay"), ("adam_beta1", "0.8"), ("adam_beta2", "0.99")];
    let session = check("dora", "creatures", Start::Adapter("adapter_dora"), &settings);
    check_logits_of_saved_adapter(Family::Qwen2_5, "dora", session);
    check_others("dora", "creatures", Start::Adapter("adapter_dora"), &settings);
}

#[test]
fn pissa() {
    let settings = [
        ("pissa_init", "true"),
        ("pissa_iter", "-1"),
        ("lora_rank", "4"),
        ("learning_rate", "1e-4"),
        ("lr_scheduler_type", "constant"),
    ];
    check_logits_of_saved_adapter(Family::Qwen2_5, "pissa", check("pissa", "creatures", Start::Lora, &settings));
}

#[test]
fn additional_target() {
    let settings = [("lr_scheduler_type", "linear")];
    let session = check("additional_target", "creatures", Start::Adapter("adapter_additional"), &settings);
    check_logits_of_saved_adapter(Family::Qwen2_5, "additional_target", session);
}

#[test]
fn the_vision_tower() {
    let settings = [("lr_scheduler_type", "cosine")];
    let session = check("vision", "pairs", Start::Adapter("adapter_vision"), &settings);
    check_logits_of_saved_adapter(Family::Qwen2_5, "vision", session);
    check_others("vision", "pairs", Start::Adapter("adapter_vision"), &settings);
}

const FULL: [(&str, &str); 3] = [("learning_rate", "1e-4"), ("weight_decay", "0.5"), ("lr_scheduler_type", "cosine")];

#[test]
fn freeze() {
    let settings = [
        ("freeze_trainable_layers", "2"),
        ("freeze_trainable_modules", "mlp,input_layernorm"),
        ("freeze_extra_modules", "embed_tokens"),
        ("learning_rate", "1e-4"),
        ("weight_decay", "0.5"),
        ("lr_scheduler_type", "linear"),
    ];
    check("freeze", "creatures", Start::Freeze, &settings);
    check_others("freeze", "creatures", Start::Freeze, &settings);
}

#[test]
fn full() {
    check("full", "creatures", Start::Full, &FULL);
    check_others("full", "creatures", Start::Full, &FULL);
}

#[test]
fn full_with_vision() {
    let all = [("freeze_vision_tower", "false"), ("freeze_multi_modal_projector", "false")];
    let settings = [&FULL[..], &all].concat();
    check("full_with_vision", "creatures", Start::Full, &settings);
    check_others("full_with_vision", "creatures", Start::Full, &settings);
}

#[test]
fn only_the_projector() {
    let settings = [
        ("freeze_multi_modal_projector", "false"),
        ("freeze_language_model", "true"),
        ("lr_scheduler_type", "cosine_with_restarts"),
    ];
    check("projector", "pairs", Start::Full, &settings);
    check_others("projector", "pairs", Start::Full, &settings);
}

#[test]
fn a_step_that_is_no_number_is_not_made() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let folder = tempfile::tempdir().unwrap();
    let adapter = fixture("train/adapter_nonzero");
    std::fs::copy(adapter.join("adapter_config.json"), folder.path().join("adapter_config.json")).unwrap();
    let huge: HashMap<_, _> = candle_core::safetensors::load(adapter.join("adapter_model.safetensors"), &Device::Cpu)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name, (tensor * 1e30).unwrap()))
        .collect();
    candle_core::safetensors::save(&huge, folder.path().join("adapter_model.safetensors")).unwrap();
    let mut session = prepare(Family::Qwen2_5, "creatures", Start::Lora, &[], &cx);
    session.adapter_load(folder.path(), Some("huge")).unwrap();

    let error = session.train(Some(3), &cx).unwrap_err().to_string();
    assert!(error.starts_with("the training has diverged: at step 1") && error.contains("learning_rate"), "{error}");
    assert!(session.history().is_empty());
    let saved = folder.path().join("saved");
    session.save(&saved).unwrap();
    let saved = candle_core::safetensors::load(saved.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    for (name, tensor) in &huge {
        let [before, after] = [tensor, &saved[name]].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        assert_eq!(before, after, "{name}");
    }
    // Another adapter of the session trains as ever.
    session.adapter_use("default").unwrap();
    assert_eq!(session.train(Some(2), &cx).unwrap().steps, 2);
}

#[test]
fn what_a_training_takes_is_said_and_too_little_memory_is_refused_before_it_begins() {
    let plans = Mutex::new(Vec::new());
    let emit = |event| {
        if let Event::MemoryEstimate(plan) = event {
            plans.lock().unwrap().push(plan);
        }
    };
    let cancel = Cancel::default();
    let cx = Context { emit: &emit, cancel: &cancel };
    let mut session =
        prepare(Family::Qwen2_5, "creatures", Start::Lora, &[("memory", "0.1"), ("lora_rank", "1024")], &cx);
    let error = session.train(Some(1), &cx).unwrap_err().to_string();
    assert!(error.starts_with("memory=0.1 is less than") && error.contains("lora_rank="), "{error}");
    assert!(session.history().is_empty() && plans.lock().unwrap().is_empty());

    let mut settings = session.settings().clone();
    settings.set("memory", "none").unwrap();
    session.set(settings);
    session.train(Some(1), &cx).unwrap();
    session.train(Some(1), &cx).unwrap();
    let plans = plans.into_inner().unwrap();
    let [plan] = &plans[..] else { panic!("{plans:?}") };
    // The four micro-batches of a step go through the model together.
    assert!(plan.tokens > 2 * 94 && plan.tokens <= 8 * 94, "{plan:?}");
    assert!(plan.least <= plan.most && plan.layers == 3, "{plan:?}");
}
