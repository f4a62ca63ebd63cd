//! Files for llama.cpp: those that its own converters make of the same models (`reference/gguf.py`), and what cannot be
//! written. That llama.cpp answers with them as the session does is tested by `gguf/llama_cpp.sh`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::gguf_file::Value;
use serde_json::Value as Json;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::FileType;
use tunebook_engine::GgufOptions;
use tunebook_engine::Session;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::fixtures::tests_folder;

/// Keys that differ on purpose, as `gguf/README.md` says.
const OWN: [&str; 9] = [
    "general.name",
    "general.sampling.penalty_repeat",
    "general.sampling.temp",
    "general.sampling.top_k",
    "general.sampling.top_p",
    "qwen2vl.attention.key_length",
    "qwen2vl.attention.value_length",
    "clip.vision.spatial_merge_size",
    "clip.vision.feed_forward_length",
];
/// Lists longer than this are in the fixture by their length and their hash.
const LONG: usize = 64;

fn loaded(folder: &Path, cx: &Context) -> Session {
    let mut session = Session::default();
    session.load(folder, cx).unwrap();
    session
}

/// A file's metadata and tensors, as `reference/gguf.py` writes them.
fn contents(path: &Path) -> (BTreeMap<String, Json>, BTreeMap<String, String>) {
    let bytes = std::fs::read(path).unwrap();
    let content = Content::read(&mut File::open(path).unwrap()).unwrap();
    let metadata = content.metadata.iter().map(|(key, value)| (key.clone(), json(value))).collect();
    let tensor = |(name, info): (&String, &candle_core::quantized::gguf_file::TensorInfo)| {
        let kind = match info.ggml_dtype {
            GgmlDType::Q4K => "Q4_K".to_string(),
            GgmlDType::Q6K => "Q6_K".to_string(),
            other => format!("{other:?}"),
        };
        let size = info.shape.elem_count() / info.ggml_dtype.block_size() * info.ggml_dtype.type_size();
        let start = (content.tensor_data_offset + info.offset) as usize;
        let hash = hex(&bytes[start..start + size]);
        (name.clone(), format!("{kind} {} {}", json!(info.shape.dims()), &hash[..16]))
    };
    (metadata, content.tensor_infos.iter().map(tensor).collect())
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json(value: &Value) -> Json {
    match value {
        Value::U32(number) => json!(number),
        Value::I32(number) => json!(number),
        Value::F32(number) => json!(f64::from(*number)),
        Value::Bool(is) => json!(is),
        Value::String(text) => json!(text),
        Value::Array(values) => {
            let list: Vec<Json> = values.iter().map(json).collect();
            match list.len() > LONG {
                true => json!([list.len(), hex(json!(list).to_string().as_bytes())]),
                false => json!(list),
            }
        }
        other => panic!("{other:?} is not written"),
    }
}

fn expected(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(fixture(&format!("gguf/{name}.json"))).unwrap()).unwrap()
}

/// Compares tensors with `expected`; of types in `other_bytes`, whose scales are found in another way, not the bytes.
fn check_tensors(of: &str, found: &BTreeMap<String, String>, expected: &Json, other_bytes: &[&str]) {
    let expected = expected.as_object().unwrap();
    assert!(found.keys().eq(expected.keys().collect::<std::collections::BTreeSet<_>>()), "{of}: other tensors");
    for (name, found) in found {
        let expected = expected[name].as_str().unwrap();
        let without_bytes = |line: &str| line.rsplit_once(' ').unwrap().0.to_string();
        match other_bytes.iter().any(|kind| expected.starts_with(kind)) {
            true => assert_eq!(without_bytes(found), without_bytes(expected), "{of}: {name}"),
            false => assert_eq!(found, expected, "{of}: {name}"),
        }
    }
}

fn check_metadata(of: &str, found: BTreeMap<String, Json>, expected: &Json) {
    let own = |key: &String| OWN.contains(&key.as_str());
    let found: BTreeMap<_, _> = found.into_iter().filter(|(key, _)| !own(key)).collect();
    let expected = expected.as_object().unwrap().clone();
    let expected: BTreeMap<_, _> = expected.into_iter().filter(|(key, _)| !own(key)).collect();
    for (key, value) in &expected {
        assert_eq!(found.get(key), Some(value), "{of}: {key}");
    }
    assert!(found.keys().eq(expected.keys()), "{of}: {:?}", found.keys());
}

fn models() -> [(&'static str, PathBuf); 4] {
    let tiny = ["tiny", "tiny-qwen2-vl", "tiny-qwen3-vl"].map(|name| (name, fixture(name)));
    let [qwen2_5, qwen2, qwen3] = tiny;
    [("demo", tests_folder().join("../kernel/demo/model")), qwen2_5, qwen2, qwen3]
}

#[test]
fn models_are_those_of_llama_cpps_converter_and_quantizer() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    for (name, folder) in models() {
        let (mut session, expected, place) = (loaded(&folder, &cx), expected(name), tempfile::tempdir().unwrap());
        let mut export = |file_type| {
            let folder = place.path().join(format!("{name}-{file_type:?}"));
            let options = GgufOptions { file_type, ..GgufOptions::default() };
            let report = session.export_gguf(&folder, Some("base"), &options, &cx).unwrap();
            assert_eq!(report.files[2], "Modelfile");
            let size: u64 =
                [0, 1].map(|i: usize| std::fs::metadata(folder.join(&report.files[i])).unwrap().len()).iter().sum();
            assert_eq!(size, report.bytes);
            [0, 1].map(|index: usize| contents(&folder.join(&report.files[index])))
        };
        let [(text_metadata, text), (vision_metadata, vision)] = export(None);
        check_tensors(name, &text, &expected["text"]["tensors"], &[]);
        check_tensors(name, &vision, &expected["mmproj"]["tensors"], &[]);
        check_metadata(name, text_metadata, &expected["text"]["metadata"]);
        check_metadata(name, vision_metadata, &expected["mmproj"]["metadata"]);

        let types = &expected["types"];
        let [(_, text), (_, vision)] = export(Some(FileType::Q8_0));
        check_tensors(name, &text, &types["q8_0"], &[]);
        check_tensors(name, &vision, &types["mmproj q8_0"], &[]);
        let [(_, text), (_, vision)] = export(Some(FileType::Q4_0));
        check_tensors(name, &text, &types["Q4_0"], &[]);
        check_tensors(name, &vision, &expected["mmproj"]["tensors"], &[]);
        let [(_, text), _] = export(Some(FileType::Q4KM));
        check_tensors(name, &text, &types["Q4_K_M"], &["Q4_K", "Q6_K"]);
    }
}

#[test]
fn a_lora_is_that_of_llama_cpps_converter() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let place = tempfile::tempdir().unwrap();
    let mut session = loaded(&fixture("tiny"), &cx);
    session.adapter_load(&fixture("train/cosine/adapter"), Some("cosine")).unwrap();
    let options = GgufOptions { adapter_only: true, ..GgufOptions::default() };
    let folder = place.path().join("creatures");
    let report = session.export_gguf(&folder, None, &options, &cx).unwrap();
    assert_eq!(report.files, ["creatures-F32-LoRA.gguf", "Modelfile"]);
    let (metadata, tensors) = contents(&folder.join(&report.files[0]));
    let expected = &expected("tiny")["lora"];
    check_tensors("lora", &tensors, &expected["tensors"], &[]);
    check_metadata("lora", metadata, &expected["metadata"]);
    let modelfile = std::fs::read_to_string(folder.join("Modelfile")).unwrap();
    assert!(modelfile.contains("\nADAPTER ./creatures-F32-LoRA.gguf\n"), "{modelfile}");
}

/// Against the safetensors of the same model, which `reference/export.py` compares with PEFT.
#[test]
fn an_adapter_is_merged_as_it_is_for_transformers() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let place = tempfile::tempdir().unwrap();
    let mut session = loaded(&fixture("tiny"), &cx);
    session.adapter_load(&fixture("train/cosine/adapter"), Some("cosine")).unwrap();
    let (plain, folder) = (place.path().join("plain"), place.path().join("gguf"));
    session.export(&plain, None, &cx).unwrap();
    let options = GgufOptions { file_type: Some(FileType::F32), ..GgufOptions::default() };
    let report = session.export_gguf(&folder, None, &options, &cx).unwrap();
    let path = folder.join(&report.files[0]);
    let content = Content::read(&mut File::open(&path).unwrap()).unwrap();
    let weights = candle_core::safetensors::load(plain.join("model.safetensors"), &Device::Cpu).unwrap();
    let base = candle_core::safetensors::load(fixture("tiny").join("model-00001-of-00002.safetensors"), &Device::Cpu);
    let base = base.unwrap();
    let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut changed = 0;
    for (module, name) in
        [("self_attn.q_proj", "attn_q"), ("self_attn.o_proj", "attn_output"), ("mlp.down_proj", "ffn_down")]
    {
        for layer in 0..3 {
            let theirs = format!("model.layers.{layer}.{module}.weight");
            let ours =
                content.tensor(&mut File::open(&path).unwrap(), &format!("blk.{layer}.{name}.weight"), &Device::Cpu);
            let ours = values(&ours.unwrap().dequantize(&Device::Cpu).unwrap());
            assert_eq!(ours, values(&weights[&theirs]), "{theirs}");
            changed += usize::from(base.get(&theirs).is_some_and(|base| values(base) != ours));
        }
    }
    assert!(changed > 0, "the adapter changes nothing");
    let modelfile = std::fs::read_to_string(folder.join("Modelfile")).unwrap();
    assert!(
        modelfile.contains("# The adapter cosine is merged in.\nFROM ./gguf-F32.gguf\nFROM ./mmproj-gguf-F32.gguf\n")
    );
}

#[test]
fn what_a_lora_file_cannot_hold_is_named() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let place = tempfile::tempdir().unwrap();
    let refusal = |settings: &[(&str, &str)], full: bool| {
        let mut session = Session::default();
        let mut chosen = session.settings().clone();
        settings.iter().for_each(|(key, value)| chosen.set(key, value).unwrap());
        session.set(chosen);
        session.load(&fixture("tiny"), &cx).unwrap();
        match full {
            true => drop(session.full(None).unwrap()),
            false => drop(session.lora(None, &cx).unwrap()),
        }
        let options = GgufOptions { adapter_only: true, ..GgufOptions::default() };
        let folder = place.path().join("lora");
        let message = session.export_gguf(&folder, None, &options, &cx).unwrap_err().to_string();
        assert!(!folder.exists() && message.contains("without adapter_only"), "{message}");
        message
    };
    assert!(refusal(&[("use_dora", "true")], false).contains("DoRA"));
    assert!(refusal(&[("freeze_vision_tower", "false")], false).contains("vision tower or the projector"));
    assert!(refusal(&[("additional_target", "norm")], false).contains("norm.weight"));
    assert!(refusal(&[], true).contains("not a LoRA"));
}

#[test]
fn an_export_that_ends_early_leaves_nothing_behind() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let place = tempfile::tempdir().unwrap();
    let mut session = loaded(&fixture("tiny"), &quiet);
    let emit = |event| {
        if matches!(event, Event::Progress { done: 20, .. }) {
            cancel.cancel();
        }
    };
    let (folder, options) = (place.path().join("model"), GgufOptions::default());
    let stopped = session.export_gguf(&folder, Some("base"), &options, &Context { emit: &emit, cancel: &cancel });
    assert_eq!(stopped.unwrap_err().to_string(), "stopped");
    cancel.reset();
    let checked = GgufOptions { check: Some(1), llama_server: Some("no-such-server".into()), ..options.clone() };
    let error = session.export_gguf(&folder, Some("base"), &checked, &quiet).unwrap_err().to_string();
    assert!(error.contains("no-such-server was not found"), "{error}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

/// A server that ends at once is said to, and the files stay; words that the verb does not know are refused.
#[cfg(unix)]
#[test]
fn the_verb_says_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let run = |lines: &str| {
        let script = place.path().join("script.tune");
        std::fs::write(&script, lines).unwrap();
        let output = tunebook().current_dir(&place).env("XDG_CACHE_HOME", place.path()).arg("run").arg(script).output();
        let output = output.unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
    };
    let said = run("demo\nset max_new_tokens=4\nexport out adapter=base format=gguf check=2 llama_server=/bin/false\n");
    assert!(said.contains("/bin/false cannot be asked") && said.contains("the files are written"), "{said}");
    assert!(place.path().join("out/out-BF16.gguf").exists(), "{said}");
    assert!(run("demo\nexport b format=onnx\n").contains("safetensors or gguf"));
    assert!(run("demo\nexport b format=gguf type=q5_k\n").contains("q8_0, q4_0 or q4_k"));
    assert!(run("demo\nexport b type=f16\n").contains("type needs format=gguf"));
    assert!(run("demo\nlora\nexport b format=gguf adapter_only=true type=q4_0\n").contains("f16, bf16 or q8_0"));
}
