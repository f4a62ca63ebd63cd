//! Tokens, pixels, positions, logits and greedy answers are those of transformers
//! (`reference/logits.py`: float32, a tiny random checkpoint in each of the two file layouts). In bfloat16 logits are
//! as near to float32 as those of transformers (`reference/bf16.py`).

use std::cell::Cell;
use std::path::Path;

use candle_core::DType;
use candle_core::Device;
use candle_core::Tensor;
use serde_json::Value;
use tunebook_data::ImageProcessor;
use tunebook_data::Message;
use tunebook_engine::generate::Choice;
use tunebook_engine::generate::Prompt;
use tunebook_engine::model::Model;
use tunebook_engine::settings::Dtype;
use tunebook_engine::settings::Settings;
use tunebook_nn::Error;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::CachedSequence;
use tunebook_nn::layers::ForwardContext;
use tunebook_nn::layers::KvCache;

use crate::fixtures::Family;
use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::fixtures::tiny_of;
use crate::generation::answers;
use crate::generation::request;

fn cases_of(family: Family) -> Vec<Value> {
    let cases = std::fs::read(family.fixture("logits/cases.json")).unwrap();
    let cases: Value = serde_json::from_slice(&cases).unwrap();
    cases["cases"].as_array().unwrap().clone()
}

/// A case of `cases.json`, taken from its messages and picture files to what the model is given.
pub(crate) struct Case {
    pub model: Model,
    pub expected: Tensors,
    pub prompt: Prompt,
    pixels: Vec<f32>,
    repetition_penalty: f64,
}

impl Case {
    pub(crate) fn load(name: &str) -> Self {
        Self::load_as(name, None)
    }

    /// The case with another checkpoint than its own, in the dtype in which that is stored.
    pub(crate) fn load_as(name: &str, checkpoint: Option<&Path>) -> Self {
        Self::of(Family::Qwen2_5, name, checkpoint)
    }

    pub(crate) fn of(family: Family, name: &str, checkpoint: Option<&Path>) -> Self {
        let cases = cases_of(family);
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        let (folder, dtype) = match checkpoint {
            Some(folder) => (folder.to_path_buf(), Dtype::Auto),
            None => (fixture(case["checkpoint"].as_str().unwrap()), Dtype::Float32),
        };
        let model = Model::load(&folder, dtype, Device::Cpu).unwrap();
        let mut messages = case["messages"].as_array().unwrap().as_slice();
        let mut system = None;
        let text = |message: &'static str, from: &Value| from[message].as_str().unwrap().to_string();
        let first = text("content", &messages[0]);
        if messages[0]["role"] == "system" {
            (system, messages) = (Some(&*first), &messages[1..]);
        }
        let messages: Vec<_> = messages
            .iter()
            .map(|message| match message["role"].as_str().unwrap() {
                "user" => Message::user(text("content", message)),
                _ => Message::assistant(text("content", message)),
            })
            .collect();
        let processor: &ImageProcessor = &model.processor;
        let images: Vec<_> = case["images"].as_array().unwrap().iter().map(|image| image.as_str().unwrap()).collect();
        let images: Vec<_> =
            images.iter().map(|image| processor.look(&fixture(&format!("pictures/{image}"))).unwrap()).collect();
        let tokens: Vec<_> = images.iter().map(|image| processor.tokens(image.grid)).collect();
        let slots = model.template.encode_prompt(&model.tokenizer, &messages, system, &tokens).unwrap();
        let grids: Vec<_> = images.iter().map(|image| [image.grid.t, image.grid.h, image.grid.w]).collect();
        let patches: Vec<_> = images.iter().map(|image| processor.load(image).unwrap().patches).collect();
        let pictures = patches.iter().zip(&grids);
        let features = pictures
            .map(|(patches, grid)| model.net.vision.forward(patches.clone(), &[*grid], ForwardContext::default()));
        let prompt = Prompt { input_ids: slots.ids, features: features.collect::<Result<_, _>>().unwrap(), grids };
        Self {
            expected: Tensors::read(&family.path(&format!("logits/{name}.safetensors"))),
            repetition_penalty: case["repetition_penalty"].as_f64().unwrap(),
            pixels: patches.concat(),
            prompt,
            model,
        }
    }

    /// Logits at all positions, `[T, vocabulary]`, with or without an adapter.
    pub(crate) fn logits(&self, adapter: Option<&Adapter>) -> Tensor {
        let net = &self.model.net;
        let positions = net.positions(&self.prompt.input_ids, &self.prompt.grids).unwrap();
        let ctx = self.model.forward_context(adapter);
        let wanted = self.prompt.input_ids.len();
        let grids = &self.prompt.grids;
        let pictures = (!grids.is_empty()).then(|| net.vision.forward(self.pixels.clone(), grids, ctx).unwrap());
        let x = net.embed(&self.prompt.input_ids, pictures.as_slice(), ctx).unwrap();
        let sequence = CachedSequence { cache: &mut KvCache::default(), adapter, new: wanted, wanted };
        net.text.next_logits(x, &net.rotary(&positions.thw).unwrap(), &mut [sequence], ctx).unwrap()
    }

    pub(crate) fn greedy_choice(&self, repetition_penalty: f64) -> Choice {
        let settings = Settings {
            do_sample: Some(false),
            repetition_penalty: Some(repetition_penalty),
            max_new_tokens: 24,
            ..Settings::default()
        };
        Choice { eos_token_ids: Vec::new(), ..Choice::new(&settings, &self.model.generation, 0) }
    }

    fn greedy(&self, repetition_penalty: f64) -> Vec<i64> {
        let choice = self.greedy_choice(repetition_penalty);
        let [tokens] = answers(&self.model, 1, [request(&self.prompt, choice, None)]);
        tokens.into_iter().map(i64::from).collect()
    }
}

#[test]
fn a_stop_is_heard_before_each_layer_and_leaves_nothing_behind() {
    let case = Case::load("picture");
    let (net, prompt) = (&case.model.net, &case.prompt);
    let positions = net.positions(&prompt.input_ids, &prompt.grids).unwrap();
    let turn = net.rotary(&positions.thw).unwrap();
    let x = || net.embed(&prompt.input_ids, &prompt.features, ForwardContext::default()).unwrap();
    let mut cache = KvCache::default();
    let all = prompt.input_ids.len();
    for before in 0..2 {
        let asked = Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == before;
        let ctx = ForwardContext { stop: Some(&stop), ..ForwardContext::default() };
        let stopped = net.vision.forward(case.pixels.clone(), &prompt.grids, ctx);
        assert!(matches!(stopped, Err(Error::Cancelled)) && asked.take() == before + 1);
        let sequence = CachedSequence { cache: &mut cache, adapter: None, new: all, wanted: 1 };
        let stopped = net.text.next_logits(x(), &turn, &mut [sequence], ctx);
        assert!(matches!(stopped, Err(Error::Cancelled)) && asked.take() == before + 1);
        assert_eq!(cache.tokens(), 0);
    }
    let sequence = CachedSequence { cache: &mut cache, adapter: None, new: all, wanted: all };
    let logits = net.text.next_logits(x(), &turn, &mut [sequence], ForwardContext::default()).unwrap();
    let values = |logits: &Tensor| logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values(&logits), values(&case.logits(None)));
}

/// Everything on the way from messages and picture files to logits at all positions.
fn check(name: &str) {
    check_case(name, &Case::load(name));
}

fn check_case(name: &str, case: &Case) {
    let input_ids: Vec<i64> = case.prompt.input_ids.iter().map(|&id| i64::from(id)).collect();
    assert_eq!(input_ids, case.expected.integers("input_ids"), "{name}: tokens");

    let positions = case.model.net.positions(&case.prompt.input_ids, &case.prompt.grids).unwrap();
    let by_axis: Vec<i64> = (0..3).flat_map(|axis| positions.thw.iter().map(move |p| i64::from(p[axis]))).collect();
    assert_eq!(by_axis, case.expected.integers("position_ids"), "{name}: positions");
    assert_eq!([positions.delta].as_slice(), case.expected.integers("rope_deltas"), "{name}: rope_delta");

    if !case.prompt.features.is_empty() {
        let pixels = max_difference(&case.pixels, &case.expected.floats("pixel_values"));
        assert!(pixels <= 1e-6, "{name}: pixels differ by {pixels}");
        let features = Tensor::cat(&case.prompt.features, 0).unwrap();
        let width = case.model.net.text.config.hidden_size;
        for part in 0..features.dims()[1] / width {
            let found = features.narrow(1, part * width, width).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let expected = match part.checked_sub(1) {
                None => case.expected.floats("vision.merged"),
                Some(level) => case.expected.floats(&format!("vision.deepstack.{level}")),
            };
            let difference = max_difference(&found, &expected);
            assert!(difference <= 1e-4, "{name}: part {part} of vision features differs by {difference}");
        }
    }
    let logits: Vec<f32> = case.logits(None).flatten_all().unwrap().to_vec1().unwrap();
    // Of other families only the last positions are kept.
    let expected = case.expected.floats("logits");
    let difference = max_difference(&logits[logits.len() - expected.len()..], &expected);
    println!("{name}: logits differ by at most {difference:.2e}");
    assert!(difference <= 2e-4, "{name}: logits differ by {difference}");

    assert_eq!(case.greedy(1.0), case.expected.integers("generated"), "{name}: greedy tokens");
    assert_eq!(
        case.greedy(case.repetition_penalty),
        case.expected.integers("generated_penalty"),
        "{name}: greedy tokens with a repetition penalty"
    );
}

#[test]
fn other_families_text_and_pictures_in_every_place_and_naming() {
    for (family, count) in [(Family::Qwen2, 7), (Family::Qwen3, 7)] {
        let cases = cases_of(family);
        assert_eq!(cases.len(), count);
        for case in cases {
            let name = case["name"].as_str().unwrap();
            check_case(&format!("{family:?}, {name}"), &Case::of(family, name, None));
        }
    }
}

#[test]
fn text_alone() {
    check("text");
}

#[test]
fn a_picture_that_is_not_square() {
    check("picture");
}

#[test]
fn two_pictures_over_two_turns() {
    check("two_pictures");
}

#[test]
fn a_picture_whose_windows_are_partly_filled() {
    check("windows");
}

#[test]
fn the_nested_layout_with_an_untied_head() {
    check("nested_text");
    check("nested_picture");
}

/// A family's tiny checkpoint with its weights rounded to bfloat16.
fn tiny_in_bf16(family: Family) -> tempfile::TempDir {
    let round = |weight: &mut Tensor| *weight = weight.to_dtype(DType::BF16).unwrap();
    tiny_of(family, |weights| weights.values_mut().for_each(round))
}

#[test]
fn bfloat16_is_as_near_to_float32_as_transformers_is() {
    for family in Family::ALL {
        let checkpoint = tiny_in_bf16(family);
        let expected = Tensors::read(&family.path("bf16/logits.safetensors"));
        let theirs: Value = serde_json::from_slice(&std::fs::read(family.fixture("bf16/cases.json")).unwrap()).unwrap();
        for (name, theirs) in theirs["cases"].as_object().unwrap() {
            let case = Case::of(family, name, Some(checkpoint.path()));
            assert_eq!(case.model.report.dtype, "bfloat16");
            let expected = expected.floats(name);
            let found: Vec<f32> = case.logits(None).flatten_all().unwrap().to_vec1().unwrap();
            let found = &found[found.len() - expected.len()..];
            let squares: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let (rms, largest) = ((squares / found.len() as f64).sqrt(), f64::from(max_difference(found, &expected)));
            println!(
                "{family:?}, {name}: off by {rms:.1e} (root mean square), at most {largest:.1e}; transformers {theirs}"
            );
            assert!(rms > 0.0 && rms <= theirs["rms"].as_f64().unwrap(), "{name}: {rms}, transformers {theirs}");
            // The largest of so many is a matter of chance, too.
            let most = 1.2 * theirs["largest"].as_f64().unwrap();
            assert!(largest <= most, "{family:?}, {name}: {largest}, transformers {theirs}");
        }
    }
}

#[test]
fn weights_that_an_answer_has_packed_are_those_of_the_file() {
    let checkpoint = tiny_in_bf16(Family::Qwen2_5);
    let mut case = Case::load_as("picture", Some(checkpoint.path()));
    let logits = |case: &Case| case.logits(None).flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let expected = logits(&case);
    let answer = case.greedy(1.0);
    while !case.model.decode_weights.is_complete() {
        case.model.pack_next(None);
    }
    assert!(case.model.decode_weights.is_complete());
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        assert!(case.model.decode_weights.saved() > 0);
    }
    assert!(logits(&case) == expected, "matmuls of many rows change");
    assert_eq!(case.greedy(1.0), answer);
    case.model.decode_weights.clear();
    assert!(!case.model.decode_weights.is_complete() && case.model.decode_weights.saved() == 0);
    assert!(logits(&case) == expected);
    assert_eq!(case.greedy(1.0), answer);
}
