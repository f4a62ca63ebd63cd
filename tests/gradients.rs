//! Every trainable tensor gets the gradient that PEFT gives it, and nothing else gets one.

use candle_core::Device;
use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::Origin;
use tunebook_engine::model::Model;
use tunebook_engine::pictures::Features;
use tunebook_engine::settings::Dtype;
use tunebook_engine::step_metrics::StepMetrics;
use tunebook_engine::training::collate::Collator;
use tunebook_engine::training::collate::PackedBatch;
use tunebook_engine::training::objective::CrossEntropy;
use tunebook_engine::training::step::Step;
use tunebook_engine::training::step::StepOptions;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::adapter::FrozenParts;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::layers::CheckpointPlan;
use tunebook_nn::layers::DropoutRun;

use crate::fixtures::Family;
use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;

fn model(family: Family) -> (Model, Adapter) {
    let model = Model::load(&family.fixture("tiny"), Dtype::Float32, Device::Cpu).unwrap();
    let adapter = Adapter::load(&family.fixture("train/adapter_nonzero"), &model.net.shape).unwrap();
    (model, adapter)
}

fn collate(model: &Model, adapter: &Adapter, samples: &[Vec<&Encoded>]) -> PackedBatch {
    let mut collator = Collator {
        net: &model.net,
        adapter: Some(adapter),
        processor: &model.processor,
        features: &mut Features::default(),
        shares_prefixes: true,
        stop: &|| false,
    };
    collator.collate(samples).unwrap()
}

fn step(
    model: &Model,
    adapter: &Adapter,
    batch: PackedBatch,
    saved_layers: usize,
    gradients: &mut Gradients,
) -> StepMetrics {
    let options = StepOptions {
        dropout: DropoutRun { seed: 0, micro_batch: 0 },
        neftune_noise_alpha: 0.0,
        checkpoint_plan: CheckpointPlan { saved_layers, evicted_layers: 1 },
    };
    let step = Step { net: &model.net, adapter, objective: &CrossEntropy, options, on_progress: &|_| Ok(()) };
    step.forward_backward(batch, gradients).unwrap().unwrap()
}

/// The sample of `gradients.safetensors`: the first of `creatures.json`.
fn sample(model: &Model, expected: &Tensors) -> Encoded {
    let image = model.processor.look(&fixture("pictures/creature_0.png")).unwrap();
    let grid = [image.grid.t, image.grid.h, image.grid.w].map(|n| n as i64);
    assert_eq!(grid.as_slice(), expected.integers("image_grid_thw"));
    let labels = expected.integers("labels");
    Encoded {
        input_ids: expected.integers("input_ids").iter().map(|&id| id as u32).collect(),
        answer_start: labels.iter().rposition(|label| *label == IGNORE_INDEX).unwrap() + 1,
        labels,
        images: vec![image],
        truncated: false,
        origin: Origin { dataset: "creatures".into(), file: fixture("train/creatures.json").into(), index: 0 },
    }
}

#[test]
fn gradients_are_pefts_whether_activations_are_saved_or_recomputed() {
    Family::ALL.into_iter().for_each(check);
}

fn check(family: Family) {
    let (model, adapter) = model(family);
    let expected = Tensors::read(&family.path("train/gradients.safetensors"));
    let sample = sample(&model, &expected);
    assert!(sample.labels.contains(&IGNORE_INDEX));
    // The mean over a sample that is there several times is its own; all but what it learns is then made once.
    for (saved, times) in [(0, 1), (1, 1), (usize::MAX, 1), (0, 2), (usize::MAX, 3)] {
        let samples = [vec![&sample; times]];
        let batch = collate(&model, &adapter, &samples);
        let learned = sample.labels.iter().filter(|label| **label != IGNORE_INDEX).count();
        assert_eq!(batch.tokens(), times * sample.labels.len());
        assert_eq!(*sample.labels.last().unwrap(), i64::from(*sample.input_ids.last().unwrap()), "nothing follows it");
        assert_eq!(batch.computed_tokens(), sample.labels.len() - 1 + (times - 1) * learned);
        let mut gradients = Gradients::default();
        let loss = step(&model, &adapter, batch, saved, &mut gradients).loss();
        assert!((loss as f32 - expected.floats("loss")[0]).abs() <= 1e-5);
        for (name, var) in adapter.vars() {
            let gradient = gradients.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
            assert_eq!(gradient.dims(), var.dims());
            let found: Vec<f32> = gradient.flatten_all().unwrap().to_vec1().unwrap();
            assert!(found.iter().any(|g| *g != 0.0), "the gradient of {name} is zero");
            let reference = expected.floats(&peft_name(&name));
            let largest = reference.iter().fold(0f32, |most, g| most.max(g.abs()));
            let difference = max_difference(&found, &reference);
            assert!(
                difference <= 1e-4 * largest,
                "{family:?}, {name}, {saved} saved, {times} times: {difference} of {largest}"
            );
        }
    }
}

/// The name of an adapter's tensor in PEFT's files.
fn peft_name(name: &str) -> String {
    format!("base_model.model.{name}")
}

#[test]
fn nothing_but_the_adapter_gets_a_gradient() {
    for family in Family::ALL {
        let (model, adapter) = model(family);
        let sample = sample(&model, &Tensors::read(&family.path("train/gradients.safetensors")));
        let mut gradients = Gradients::default();
        step(&model, &adapter, collate(&model, &adapter, &[vec![&sample]]), 1, &mut gradients);
        assert_eq!(gradients.len(), adapter.vars().len());
        assert_eq!(
            adapter.vars().len(),
            model.net.text.layers.len() * 14,
            "seven linear layers with two matrices each"
        );
    }
}

/// The loss with every weight of a model training, and its gradients.
fn whole_model(model: &Model, adapter: &Adapter, sample: &Encoded) -> (f64, Gradients) {
    let mut gradients = Gradients::default();
    let metrics = step(model, adapter, collate(model, adapter, &[vec![sample]]), usize::MAX, &mut gradients);
    (metrics.loss(), gradients)
}

#[test]
fn gradients_of_every_weight_are_central_differences_of_the_loss() {
    for family in [Family::Qwen2, Family::Qwen3] {
        let (model, _) = model(family);
        let nothing = FrozenParts {
            freeze_vision_tower: false,
            freeze_multi_modal_projector: false,
            freeze_language_model: false,
        };
        let adapter = model.net.copies(&model.net.all_but(nothing).unwrap()).unwrap();
        let sample = sample(&model, &Tensors::read(&family.path("train/gradients.safetensors")));
        let (_, gradients) = whole_model(&model, &adapter, &sample);
        let mut checked = Vec::new();
        for (name, var) in adapter.vars() {
            // Embeddings of images and positions, what joins features to layers, and all norms.
            let wanted = ["pos_embed", "patch_embed", "deepstack", "merger", "norm", "k_proj", "v_proj"];
            if !wanted.iter().any(|part| name.contains(part)) {
                continue;
            }
            let gradient = gradients.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
            let length = f64::from(gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
            if length < 1e-3 {
                continue;
            }
            // Along the gradient, the loss changes by the gradient's length.
            let (before, direction) = (var.as_tensor().copy().unwrap(), (gradient / length).unwrap());
            let size = f64::from(before.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).sqrt();
            let step = (1e-3 / length).min(3e-3 * size);
            let losses = [1.0, -1.0].map(|sign| {
                var.set(&(&before + (&direction * (sign * step)).unwrap()).unwrap()).unwrap();
                adapter.changed();
                whole_model(&model, &adapter, &sample).0
            });
            var.set(&before).unwrap();
            adapter.changed();
            let slope = (losses[0] - losses[1]) / (2.0 * step);
            let error = (slope / length - 1.0).abs();
            assert!(error < 0.02, "{family:?}, {name}: slope {slope}, gradient {length}");
            checked.push(name);
        }
        println!("{family:?}: {} weights", checked.len());
        let is_checked = |part: &str| checked.iter().any(|name| name.contains(part));
        assert!(["merger", "patch_embed", "norm1", "k_proj"].into_iter().all(is_checked), "{checked:?}");
        if matches!(family, Family::Qwen3) {
            assert!(["pos_embed", "deepstack", "q_norm", "k_norm"].into_iter().all(is_checked), "{checked:?}");
        }
    }
}
