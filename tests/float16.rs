//! A checkpoint that is stored in float16: computed with in float32 (`reference/brought.py`), exported in float16.

use std::path::Path;

use candle_core::DType;
use candle_core::Device;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_engine::model::Model;
use tunebook_engine::settings::Dtype;
use tunebook_nn::QuantizationBit;
use tunebook_nn::layers::ForwardContext;

use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::fixtures::tiny_with;
use crate::logits::Case;
use crate::own_head::last_logits;

fn tiny_in(dtypes: &[DType]) -> tempfile::TempDir {
    tiny_with(|weights| {
        for dtype in dtypes {
            weights.values_mut().for_each(|weight| *weight = weight.to_dtype(*dtype).unwrap());
        }
    })
}

fn loaded(folder: &Path, settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    settings.iter().for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
    session.load(folder, cx).unwrap();
    session
}

#[test]
fn logits_are_those_of_the_widened_weights() {
    let folder = tiny_in(&[DType::F16]);
    let case = Case::load_as("picture", Some(folder.path()));
    let report = &case.model.report;
    assert_eq!((report.stored_dtype.as_str(), report.dtype.as_str()), ("float16", "float32"));
    let difference =
        max_difference(&last_logits(&case, None), &Tensors::read("brought/logits.safetensors").floats("float16"));
    assert!(difference <= 2e-4, "logits differ by {difference}");
}

#[test]
fn in_bfloat16_and_quantized_it_is_the_model_that_was_stored_so() {
    let (half, rounded) = (tiny_in(&[DType::F16]), tiny_in(&[DType::F16, DType::BF16]));
    let load = |folder: &Path| Model::load(folder, Dtype::Bfloat16, Device::Cpu).unwrap();
    let (half, rounded) = (load(half.path()), load(rounded.path()));
    let answer = |model: &Model| {
        let x = model.net.embed(&[5, 6, 7], &[], ForwardContext::default()).unwrap();
        let x = candle_core::Tensor::from_vec(x.embeddings, (3, 64), &Device::Cpu).unwrap();
        model.net.text.logits(&x, ForwardContext::default()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(answer(&half), answer(&rounded));

    let (half, wide) = (tiny_in(&[DType::F16]), tiny_in(&[DType::F16, DType::F32]));
    for bit in [QuantizationBit::Four, QuantizationBit::Eight] {
        let logits = |folder: &Path| {
            let mut case = Case::load_as("picture", Some(folder));
            let _ = case.model.net.quantize(bit, |_, _| std::ops::ControlFlow::<()>::Continue(()));
            last_logits(&case, None)
        };
        assert_eq!(logits(half.path()), logits(wide.path()));
    }
}

#[test]
fn an_export_is_stored_in_float16_again() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let folder = tiny_in(&[DType::F16]);
    let mut session = loaded(folder.path(), &[], &cx);
    let adapter = fixture("train/cosine/adapter");
    session.adapter_load(&adapter, None).unwrap();
    let place = tempfile::tempdir().unwrap();
    let exported = place.path().join("exported");
    session.export(&exported, None, &cx).unwrap();
    let weights = candle_core::safetensors::load(exported.join("model.safetensors"), &Device::Cpu).unwrap();
    assert!(weights.values().all(|weight| weight.dtype() == DType::F16));

    let case = Case::load_as("picture", Some(folder.path()));
    let expected = last_logits(&case, Some(&case.model.net.load_adapter(&adapter).unwrap()));
    let found = last_logits(&Case::load_as("picture", Some(&exported)), None);
    // float16 has 11 bits: a merged weight is rounded once more.
    let difference = max_difference(&found, &expected);
    assert!(difference <= 2e-2, "logits differ by {difference}");
}
