//! A whole training step, as on the CPU and as on a device, whose operations are written down twice.

use std::path::PathBuf;

use candle_core::Device;
use candle_core::Tensor;

use super::*;
use crate::adapter::Adapter;
use crate::adapter::FrozenParts;
use crate::adapter::InitLoraWeights;
use crate::adapter::LoraConfig;
use crate::gradients::Gradients;
use crate::layers::CheckpointPlan;
use crate::layers::DecoderGradients;
use crate::layers::DecoderSequences;
use crate::layers::DropoutRun;
use crate::layers::Sequences;
use crate::ops::Labels;
use crate::ops::Segments;
use crate::ops::linear_cross_entropy;
use crate::ops::linear_cross_entropy_with_gradient;
use crate::ops::testing::both_ways;
use crate::ops::testing::random;

const NONE_FROZEN: FrozenParts =
    FrozenParts { freeze_vision_tower: false, freeze_multi_modal_projector: false, freeze_language_model: false };

/// A text, a picture of 8 tokens, and another text.
const GRIDS: [[usize; 3]; 1] = [[1, 4, 8]];
const PICTURE: std::ops::Range<usize> = 3..11;
const SEQUENCES: [usize; 3] = [0, 14, 23];
/// With so many tokens, which are no picture's, the second begins as the first does.
const SHARED: usize = 3;
/// What the last layer makes: the rows from the first learned one of each sequence on.
const LEARNED: [usize; 3] = [0, 4, 6];

/// A tiny model of every family.
fn nets() -> impl Iterator<Item = VisionLanguageModel> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    ["tiny", "tiny-qwen2-vl", "tiny-qwen3-vl"].into_iter().map(move |folder| {
        VisionLanguageModel::load(&fixtures.join(folder), Some(Precision::F32), Device::Cpu).unwrap()
    })
}

/// Two sequences, and their tokens.
struct Batch {
    sequences: DecoderSequences,
    ids: Vec<u32>,
}

impl Batch {
    /// Tokens with which both sequences begin are there once if `shared`, otherwise twice.
    fn new(net: &VisionLanguageModel, shared: bool) -> Self {
        let [_, second, end] = SEQUENCES;
        let again = second..second + SHARED;
        let row = |key: usize| match shared {
            true if again.contains(&key) => key - second,
            true if key >= again.end => key - SHARED,
            _ => key,
        } as u32;
        let made: Vec<usize> = (0..end).filter(|key| !(shared && again.contains(key))).collect();
        // A number for every token, the same for the same token.
        let number = |key: usize| if again.contains(&key) { key - second } else { key };
        let id =
            |&key: &usize| if PICTURE.contains(&key) { net.config.image_token_id() } else { 4 * number(key) as u32 };
        let place = |&key: &usize| number(key) as u32;
        let segments = |q: &[usize]| Segments { q: q.into(), k: SEQUENCES.into(), causal: true };
        let keys = || shared.then(|| (0..end).map(row).collect());
        let queries = (second - 4..second).chain(end - 2..end).map(row).collect();
        let places: Vec<_> = made.iter().map(place).map(|i| [i, i / 2, i % 7]).collect();
        let sequences = DecoderSequences {
            rotary: net.rotary(&places).unwrap(),
            all: Sequences::new(segments(&[0, second, made.len()]), None, keys(), &net.device).unwrap(),
            last: Sequences::new(segments(&LEARNED), Some(queries), keys(), &net.device).unwrap(),
        };
        Self { sequences, ids: made.iter().map(id).collect() }
    }
}

/// The loss, with and without gradients, and the gradients of all that trains.
fn step(net: &VisionLanguageModel, adapter: &Adapter, batch: &Batch) -> Vec<(String, Vec<f32>)> {
    let Batch { sequences, ids } = batch;
    let ctx = ForwardContext {
        adapter: Some(adapter),
        dropout: Some(DropoutRun { seed: 1, micro_batch: 2 }),
        ..ForwardContext::default()
    };
    let mut gradients = Gradients::default();
    let config = &net.config;
    let patch = 3 * config.temporal_patch_size() * config.patch_size() * config.patch_size();
    let (features, backward) = net.vision.forward_saving(random(7, 32 * patch), &GRIDS, ctx).unwrap();
    assert!(!features.track_op(), "candle keeps what it is computed from");
    let input = net.embed(ids, &[features], ctx).unwrap();
    let plan = CheckpointPlan { saved_layers: 1, evicted_layers: 0 };
    let (hidden, saved) = net.text.forward_saving(input, sequences, true, plan, ctx, &|_| Ok(())).unwrap();
    assert!(!hidden.track_op(), "candle keeps what it is computed from");
    let labels = Labels { rows: &[0, 1, 3, 5], targets: &[9, 2, 7, 7], weights: &[0.25; 4] };
    let head = net.text.lm_head(ctx);
    let head_sum = net.text.trained_head(ctx).map(|head| gradients.sum(head).unwrap());
    let loss = linear_cross_entropy(&hidden, head, labels, net.precision).unwrap();
    let (again, dhidden) =
        linear_cross_entropy_with_gradient(&hidden, head, labels, net.precision, head_sum.as_ref(), &|| true).unwrap();
    let DecoderGradients { embeddings: dx, deepstack } =
        net.text.backward(saved, sequences, &dhidden, ctx, &mut gradients, &|_| Ok(())).unwrap();
    assert!(!dx.track_op(), "candle keeps what it is computed from");
    let of_text: Vec<_> = ids.iter().map(|id| Some(*id).filter(|id| *id != config.image_token_id())).collect();
    net.text.embed_backward(&of_text, &dx, ctx, &mut gradients).unwrap();
    let mut dfeatures = vec![dx.narrow(0, PICTURE.start, PICTURE.len()).unwrap()];
    dfeatures.extend(deepstack);
    backward(&Tensor::cat(&dfeatures, 1).unwrap(), &mut gradients).unwrap();

    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let trained = adapter.vars().into_iter().map(|(name, var)| {
        let gradient = gradients.get(&var).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert!(!gradient.track_op(), "candle keeps what {name}'s gradient is computed from");
        (name, values(gradient))
    });
    [("loss".to_string(), vec![loss as f32, again as f32])].into_iter().chain(trained).collect()
}

/// Checks a step both ways, from an adapter that does something.
fn check(net: &VisionLanguageModel, adapter: &Adapter) {
    disturb(adapter);
    let [cpu, device] = both_ways(|| step(net, adapter, &Batch::new(net, true)));
    check_same(&cpu, &device);
}

fn disturb(adapter: &Adapter) {
    for (seed, (_, var)) in (0..).zip(adapter.vars()) {
        let noise = random(seed, var.elem_count()).iter().map(|v| 0.02 * v).collect();
        let noise = Tensor::from_vec(noise, var.shape(), &Device::Cpu).unwrap();
        var.set(&(var.as_tensor() + noise).unwrap()).unwrap();
    }
    adapter.changed();
}

fn check_same(expected: &[(String, Vec<f32>)], found: &[(String, Vec<f32>)]) {
    assert_eq!(expected.len(), found.len());
    for ((name, expected), (_, found)) in expected.iter().zip(found) {
        let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
        let worst = expected.iter().zip(found).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(largest > 0.0 && worst <= 1e-4 * largest, "{name}: {worst} of {largest}");
    }
}

#[test]
fn what_two_sequences_begin_with_may_be_there_once() {
    for net in nets() {
        let modules_to_save = vec!["embed_tokens".to_string()];
        let config = LoraConfig { frozen: NONE_FROZEN, modules_to_save, ..LoraConfig::default() };
        let adapter = net.lora(config, 3, &|| false).unwrap();
        disturb(&adapter);
        let [twice, once] = [false, true].map(|shared| step(&net, &adapter, &Batch::new(&net, shared)));
        check_same(&twice, &once);
    }
}

#[test]
fn lora_with_dropout_on_all_parts() {
    for net in nets() {
        let config = LoraConfig { lora_dropout: 0.2, frozen: NONE_FROZEN, ..LoraConfig::default() };
        check(&net, &net.lora(config, 3, &|| false).unwrap());
    }
}

#[test]
fn dora_with_a_trained_embedding() {
    for net in nets() {
        let modules_to_save = vec!["embed_tokens".to_string()];
        let config = LoraConfig { use_dora: true, modules_to_save, ..LoraConfig::default() };
        check(&net, &net.lora(config, 3, &|| false).unwrap());
    }
}

#[test]
fn pissa() {
    for net in nets() {
        let init_lora_weights = InitLoraWeights::Pissa { niter: Some(4) };
        check(&net, &net.lora(LoraConfig { r: 4, init_lora_weights, ..LoraConfig::default() }, 3, &|| false).unwrap());
    }
}

#[test]
fn all_of_the_models_own_weights() {
    for net in nets() {
        check(&net, &net.copies(&net.all_but(NONE_FROZEN).unwrap()).unwrap());
    }
}

#[test]
fn quantized_weights_that_were_uploaded() {
    for mut net in nets() {
        let ended = net.quantize::<()>(QuantizationBit::Four, |_, _| ControlFlow::Continue(()));
        assert!(ended.is_continue());
        let mut told = Vec::new();
        let end = net.upload::<()>(|done, total| {
            told.push((done, total));
            ControlFlow::Continue(())
        });
        assert!(end.unwrap().is_continue());
        assert!(told.is_sorted() && told.last().is_some_and(|(done, total)| done == total));
        check(&net, &net.lora(LoraConfig::default(), 3, &|| false).unwrap());
    }
}
