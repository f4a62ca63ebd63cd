//! An exported folder is the model with the adapter merged into it, for tunebook and for transformers
//! (`reference/export.py`).

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;

use safetensors::SafeTensors;
use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_nn::adapter::Adapter;

use crate::fixtures::fixture;
use crate::fixtures::max_difference;
use crate::logits::Case;

fn session(settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    settings.iter().for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
    session.load(&fixture("tiny"), cx).unwrap();
    session
}

/// Name, dtype, shape and file of every tensor of a model folder.
fn tensors(folder: &Path) -> BTreeMap<String, (String, Vec<usize>, String)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let bytes = std::fs::read(&path).unwrap();
            let file = path.file_name().unwrap().to_str().unwrap().to_string();
            for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().iter() {
                let place = (format!("{:?}", tensor.dtype()), tensor.shape().to_vec(), file.clone());
                assert!(found.insert(name.to_string(), place).is_none(), "{name} is there twice");
            }
        }
    }
    found
}

/// Leaves `exported/` and `logits.safetensors` behind for `reference/export.py`.
#[test]
fn the_exported_model_gives_the_logits_of_checkpoint_and_adapter() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("export");
    let _ = std::fs::remove_dir_all(&place);
    let folder = place.join("exported");
    let adapter = fixture("train/cosine/adapter");
    let mut session = session(&[("export_size", "0.0005")], &cx);
    session.adapter_load(&adapter, Some("cosine")).unwrap();
    let report = session.export(&folder, None, &cx).unwrap();

    let (source, exported) = (tensors(&fixture("tiny")), tensors(&folder));
    let shapes = |tensors: &BTreeMap<String, (String, Vec<usize>, String)>| -> Vec<_> {
        tensors.iter().map(|(name, (dtype, shape, _))| (name.clone(), dtype.clone(), shape.clone())).collect()
    };
    assert_eq!(shapes(&exported), shapes(&source));
    let index: Value =
        serde_json::from_slice(&std::fs::read(folder.join("model.safetensors.index.json")).unwrap()).unwrap();
    let placed: BTreeMap<_, _> = exported.iter().map(|(name, (_, _, file))| (name.clone(), file.clone())).collect();
    assert_eq!(index["weight_map"], serde_json::to_value(placed).unwrap());
    assert_eq!(index["metadata"]["total_size"], report.bytes);
    let shards: Vec<_> = report.files.iter().filter(|name| name.ends_with(".safetensors")).collect();
    assert!(shards.len() > 3 && *shards[0] == format!("model-00001-of-{:05}.safetensors", shards.len()));
    for shard in shards {
        let bytes = std::fs::metadata(folder.join(shard)).unwrap().len();
        assert!(bytes < 500_000 + 20_000, "{shard} has {bytes} bytes");
    }
    for name in ["config.json", "generation_config.json", "tokenizer.json", "preprocessor_config.json"] {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), std::fs::read(fixture("tiny").join(name)).unwrap());
    }
    let beside = std::fs::read_dir(&place).unwrap().count();
    assert_eq!(beside, 1, "something is left beside the folder");

    let case = Case::load("picture");
    let adapter = Adapter::load(&adapter, &case.model.net.shape).unwrap();
    let flat = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let expected = flat(&case.logits(Some(&adapter)));
    let logits = Case::load_as("picture", Some(&folder)).logits(None);
    let difference = max_difference(&flat(&logits), &expected);
    assert!(difference <= 2e-4, "logits differ by {difference}");
    assert!(max_difference(&expected, &case.expected.floats("logits")) > 0.1, "the adapter changes nothing");
    candle_core::safetensors::save(&HashMap::from([("logits", logits)]), place.join("logits.safetensors")).unwrap();
}

#[test]
fn an_export_that_cannot_be_finished_leaves_nothing_behind() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = session(&[], &quiet);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("deep/model");
    let error = |result: tunebook_engine::Result<_>| -> String {
        result.map(|_: tunebook_engine::report::ExportReport| ()).unwrap_err().to_string()
    };
    assert!(error(session.export(&folder, None, &quiet)).contains("no adapter is active"));
    session.adapter_load(&fixture("train/cosine/adapter"), None).unwrap();

    let emit = |event| {
        if matches!(event, Event::Progress { done: 5, .. }) {
            cancel.cancel();
        }
    };
    assert_eq!(error(session.export(&folder, None, &Context { emit: &emit, cancel: &cancel })), "stopped");
    assert_eq!(std::fs::read_dir(place.path().join("deep")).unwrap().count(), 0);

    cancel.reset();
    std::fs::create_dir(&folder).unwrap();
    session.export(&folder, None, &quiet).unwrap();
    assert!(folder.join("model.safetensors").exists() && !folder.join("model.safetensors.index.json").exists());
    assert!(error(session.export(&folder, None, &quiet)).contains("is not empty"));
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(error(session.export(&file, None, &quiet)).contains("is not empty"));
}
