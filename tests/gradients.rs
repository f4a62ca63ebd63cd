//! Every trainable tensor gets the gradient that PEFT gives it, and nothing else gets one.

use std::collections::HashSet;

use candle_core::Device;
use candle_core::Tensor;
use candle_core::Var;
use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::Origin;
use tunebook_engine::micro_batch::MicroBatch;
use tunebook_engine::model::Model;
use tunebook_engine::pictures::Features;
use tunebook_engine::settings::Dtype;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::ops::Segments;
use tunebook_nn::ops::backward_from;
use tunebook_nn::qwen2_5_vl::DropoutRun;
use tunebook_nn::qwen2_5_vl::Pass;
use tunebook_nn::qwen2_5_vl::positions::rotary;

use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;

fn model() -> (Model, Adapter) {
    let model = Model::load(&fixture("tiny"), Dtype::Float32).unwrap();
    let adapter = Adapter::load(&fixture("train/adapter_nonzero"), &model.net.linears).unwrap();
    (model, adapter)
}

/// The sample of `gradients.safetensors`: the first of `creatures.json`.
fn sample(model: &Model, expected: &Tensors) -> Encoded {
    let image = model.processor.look(&fixture("pictures/creature_0.png")).unwrap();
    let grid = [image.grid.t, image.grid.h, image.grid.w].map(|n| n as i64);
    assert_eq!(grid.as_slice(), expected.integers("image_grid_thw"));
    Encoded {
        input_ids: expected.integers("input_ids").iter().map(|&id| id as u32).collect(),
        labels: expected.integers("labels"),
        images: vec![image],
        truncated: false,
        origin: Origin { file: fixture("train/creatures.json").into(), index: 0 },
    }
}

#[test]
fn gradients_are_pefts_whether_layers_are_kept_or_rebuilt() {
    let (model, adapter) = model();
    let expected = Tensors::read("train/gradients.safetensors");
    let sample = sample(&model, &expected);
    assert!(sample.labels.contains(&IGNORE_INDEX));
    let mut features = Features::default();
    for kept in [0, 1, usize::MAX] {
        let micro_batch = MicroBatch::new(&model.net, &model.processor, &mut features, &[&sample]).unwrap();
        let dropout = DropoutRun { seed: 0, micro_batch: 0 };
        let (loss, gradients) = micro_batch.backward(&model.net, &adapter, dropout, kept).unwrap();
        assert!((loss as f32 - expected.floats("loss")[0]).abs() <= 1e-5);
        for (index, (name, var)) in adapter.vars().iter().enumerate() {
            let gradient = gradients.get(index).unwrap_or_else(|| panic!("{name} has no gradient"));
            assert_eq!(gradient.dims(), var.dims());
            let found: Vec<f32> = gradient.flatten_all().unwrap().to_vec1().unwrap();
            assert!(found.iter().any(|g| *g != 0.0), "the gradient of {name} is zero");
            let reference = expected.floats(&peft_name(name));
            let largest = reference.iter().fold(0f32, |most, g| most.max(g.abs()));
            let difference = max_difference(&found, &reference);
            assert!(difference <= 1e-4 * largest, "{name}, {kept} kept: {difference} of {largest}");
        }
    }
}

/// The name of an adapter's tensor in PEFT's files.
fn peft_name(name: &str) -> String {
    format!("base_model.model.{name}")
}

#[test]
fn a_layers_backward_pass_leaves_gradients_of_its_input_and_its_adapter_only() {
    let (model, adapter) = model();
    let net = &model.net;
    let tokens = 5;
    let positions: Vec<_> = (0..tokens as u32).map(|i| [i; 3]).collect();
    let turn = rotary(&positions, &net.config.text);
    let segments = Segments { q: [0, tokens].into(), k: [0, tokens].into(), causal: true };
    let pass = Pass { adapter: Some(&adapter), record: true, dropout: None };
    let mut seen = HashSet::new();
    for layer in &net.text.layers {
        let x = Tensor::randn(0f32, 1.0, (tokens, net.config.text.hidden_size), &Device::Cpu).unwrap();
        let x = Var::from_tensor(&x).unwrap();
        let y = layer.forward(&x, &turn, &segments, pass).unwrap();
        let store = backward_from(&y, &y.ones_like().unwrap()).unwrap();
        // candle drops the gradient of a node once it has passed it on, but keeps that of every operand that is
        // no node: a frozen weight, had candle seen one, would be among these.
        let left: HashSet<_> = store.get_ids().copied().collect();
        let trained: HashSet<_> =
            adapter.vars().iter().map(|(_, var)| var.id()).filter(|id| left.contains(id)).collect();
        assert_eq!(trained.len(), 14, "seven linear layers with two matrices each");
        assert_eq!(left.len(), trained.len() + 1, "a gradient that is neither the input's nor the adapter's");
        assert!(left.contains(&x.id()));
        seen.extend(trained);
    }
    assert_eq!(seen.len(), adapter.vars().len());
}
