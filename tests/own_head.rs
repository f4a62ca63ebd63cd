//! A head that differs from the embedding is used, whatever config.json says; one that does not is the embedding
//! (`reference/brought.py`).

use std::fs;
use std::path::Path;

use candle_core::Tensor;
use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_nn::adapter::Adapter;

use crate::fixtures::Tensors;
use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::fixtures::tiny_with;
use crate::logits::Case;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// The tiny checkpoint with a head beside the embedding, of whose rows each is moved down by one.
fn with_own_head() -> tempfile::TempDir {
    tiny_with(|weights| {
        let embedding = &weights[EMBEDDING];
        let rows = embedding.dims()[0];
        let [last, others] = [(rows - 1, 1), (0, rows - 1)].map(|(start, count)| embedding.narrow(0, start, count));
        let head = Tensor::cat(&[last.unwrap(), others.unwrap()], 0).unwrap();
        weights.insert(HEAD.to_string(), head);
    })
}

/// The logits at the last position.
pub(crate) fn last_logits(case: &Case, adapter: Option<&Adapter>) -> Vec<f32> {
    let logits = case.logits(adapter);
    logits.get(logits.dims()[0] - 1).unwrap().to_vec1().unwrap()
}

fn session(folder: &Path, settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    chosen.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
    for (key, value) in [("max_samples", "4"), ("batch", "2"), ("accum", "1"), ("lr", "1e-2")].iter().chain(settings) {
        chosen.set(key, value).unwrap();
    }
    session.set(chosen);
    session.load(folder, cx).unwrap();
    session.data(&["creatures".to_string()], cx).unwrap();
    session
}

/// Whether an exported folder has a head, and what its config.json says.
fn exported_head(folder: &Path) -> (bool, bool) {
    let weights = candle_core::safetensors::load(folder.join("model.safetensors"), &candle_core::Device::Cpu).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    (weights.contains_key(HEAD), config["tie_word_embeddings"].as_bool().unwrap())
}

#[test]
fn a_head_that_differs_from_the_embedding_is_used() {
    let folder = with_own_head();
    let case = Case::load_as("picture", Some(folder.path()));
    let expected = Tensors::read("brought/logits.safetensors").floats("own_head");
    let difference = max_difference(&last_logits(&case, None), &expected);
    assert!(difference <= 2e-4, "logits differ by {difference}");
    let report = &case.model.report;
    assert!(report.own_head && report.unused.is_empty());
    assert_eq!(report.parameters, Case::load("picture").model.report.parameters + 1280 * 64);
}

#[test]
fn a_head_that_equals_the_embedding_is_tied() {
    let folder = tiny_with(|weights| {
        let copy = weights[EMBEDDING].copy().unwrap();
        weights.insert(HEAD.to_string(), copy);
    });
    let (case, tiny) = (Case::load_as("picture", Some(folder.path())), Case::load("picture"));
    assert!(case.model.net.text.is_tied() && !case.model.report.own_head);
    assert_eq!(case.model.report.parameters, tiny.model.report.parameters);

    // What is trained of it goes with the embedding, and an export has no second one left from before.
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = session(folder.path(), &[("lr", "1e-3")], &cx);
    session.full(None).unwrap();
    session.train(Some(1), &cx).unwrap();
    let place = tempfile::tempdir().unwrap();
    let (saved, exported) = (place.path().join("saved"), place.path().join("exported"));
    session.save(&saved).unwrap();
    session.export(&exported, None, &cx).unwrap();
    assert_eq!(exported_head(&exported), (false, true));
    let trained = last_logits(&case, Some(&case.model.net.load_adapter(&saved).unwrap()));
    let merged = last_logits(&Case::load_as("picture", Some(&exported)), None);
    assert!(max_difference(&trained, &merged) <= 2e-4);
    assert!(max_difference(&trained, &last_logits(&case, None)) > 1e-2, "nothing was trained");
}

#[test]
fn what_trains_embedding_or_head_by_itself_is_exported_with_both() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let own_head = with_own_head();
    let tiny = fixture("tiny");
    for (folder, target) in [
        (tiny.as_path(), "embed_tokens"),
        (&tiny, "lm_head"),
        (&tiny, "embed_tokens,lm_head"),
        (own_head.path(), "lm_head"),
    ] {
        let mut session = session(folder, &[("additional_target", target)], &cx);
        session.lora(None, &cx).unwrap();
        session.train(Some(2), &cx).unwrap();
        let place = tempfile::tempdir().unwrap();
        let (saved, exported) = (place.path().join("saved"), place.path().join("exported"));
        session.save(&saved).unwrap();
        session.export(&exported, None, &cx).unwrap();
        assert_eq!(exported_head(&exported), (true, false), "{target}");
        let case = Case::load_as("picture", Some(folder));
        let trained = last_logits(&case, Some(&case.model.net.load_adapter(&saved).unwrap()));
        let case = Case::load_as("picture", Some(&exported));
        assert!(!case.model.report.own_head, "config.json tells the truth");
        assert!(max_difference(&trained, &last_logits(&case, None)) <= 2e-4, "{target}");
    }
}

#[test]
fn tensors_that_are_missing_are_all_named() {
    // As saved out of torch's DataParallel, with the embedding under another name.
    let folder = tiny_with(|weights| {
        let embedding = weights.remove("model.embed_tokens.weight").unwrap();
        weights.insert("module.embed.weight".to_string(), embedding);
        weights.retain(|name, _| !name.ends_with("k_proj.bias"));
    });
    let (emit, cancel) = (|_| {}, Cancel::default());
    let cx = Context { emit: &emit, cancel: &cancel };
    let error = Session::default().load(folder.path(), &cx).unwrap_err();
    let place = folder.path().display();
    assert_eq!(
        error.to_string(),
        format!(
            "{place} lacks 4 of the model's tensors: model.embed_tokens.weight, \
             model.layers.{{0..2}}.self_attn.k_proj.bias (it has others instead: module.embed.weight); the checkpoint is \
             incomplete or has another architecture"
        )
    );
}

#[test]
fn a_config_of_two_thousand_million_layers_is_an_error() {
    let folder = tiny_with(|_| {});
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["num_hidden_layers"] = (i32::MAX as u64).into();
    fs::write(&path, config.to_string()).unwrap();
    let (emit, cancel) = (|_| {}, Cancel::default());
    let error = Session::default().load(folder.path(), &Context { emit: &emit, cancel: &cancel }).unwrap_err();
    assert!(error.to_string().contains("lacks 10000 of the model's tensors"), "{error}");
}

#[test]
fn tensors_that_the_model_does_not_have_are_named() {
    let folder = tiny_with(|weights| {
        let extra = weights["model.norm.weight"].clone();
        let names = (0..3).map(|layer| format!("model.layers.{layer}.extra.weight"));
        weights.extend(names.chain(["value_head.weight".to_string()]).map(|name| (name, extra.clone())));
        weights.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_string(), extra);
    });
    let report = Case::load_as("picture", Some(folder.path())).model.report;
    assert_eq!(report.unused, ["model.layers.{0..2}.extra.weight", "value_head.weight"]);
    assert_eq!(report.parameters, Case::load("picture").model.report.parameters);
}
