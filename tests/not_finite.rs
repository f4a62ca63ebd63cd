//! Weights that are no numbers are named instead of being answered with.

use std::fs;
use std::path::Path;

use candle_core::Device;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_commands::page::Page;
use tunebook_commands::text::render;

use crate::fixtures::fixture;
use crate::fixtures::tiny_with;

/// What `line` shows, or its error.
fn type_line(host: &Host, line: &str) -> Result<String, String> {
    let mut shown = String::new();
    for message in host.line(line) {
        match message {
            Message::Event(_) | Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
            Message::Output(output) => shown += &render(&output, Page { width: 200, color: false, lang: Lang::En }),
            Message::Done(result) => return result.map(|()| shown).map_err(|error| error.to_string()),
        }
    }
    panic!("the session is gone");
}

fn ready(model: &Path) -> Host {
    let host = Host::start(Lang::En).unwrap();
    for line in [
        format!("load {}", model.display()),
        format!("data creatures dataset_dir={} max_samples=2", fixture("train").display()),
    ] {
        type_line(&host, &line).unwrap();
    }
    host
}

/// `tensor` with one value replaced.
fn spoilt(tensor: &candle_core::Tensor, value: f32) -> candle_core::Tensor {
    let mut values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values[7] = value;
    candle_core::Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap()
}

#[test]
fn of_the_model() {
    const SPOILT: &str = "model.layers.1.mlp.up_proj.weight";
    for value in [f32::NAN, f32::INFINITY] {
        let folder = tiny_with(|weights| {
            weights.insert(SPOILT.to_string(), spoilt(&weights[SPOILT], value));
        });
        let host = ready(folder.path());
        type_line(&host, "lora").unwrap();
        let lines = ["chat Hello", "compare Hello", "predict creatures", "evaluate", "train 1 batch=1 accum=1"];
        for line in lines {
            let message = type_line(&host, line).expect_err(line);
            assert!(message.contains(SPOILT) && message.contains("of the model"), "{line}: {message}");
        }
        type_line(&host, "adapter off").unwrap();
        let place = tempfile::tempdir().unwrap();
        let export = format!("export {} adapter=default", place.path().join("exported").display());
        let message = type_line(&host, &export).unwrap_err();
        assert!(message.contains(SPOILT) && place.path().read_dir().unwrap().next().is_none(), "{message}");
    }
}

#[test]
fn of_the_adapter() {
    let place = tempfile::tempdir().unwrap();
    let source = fixture("train/adapter_nonzero");
    let mut weights = candle_core::safetensors::load(source.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    let name = weights.keys().find(|name| name.contains("layers.1.mlp.up_proj.lora_B")).unwrap().clone();
    weights.insert(name.clone(), spoilt(&weights[&name], f32::NAN));
    let [adapter, saved, exported] = ["spoilt", "saved", "exported"].map(|name| place.path().join(name));
    fs::create_dir(&adapter).unwrap();
    fs::copy(source.join("adapter_config.json"), adapter.join("adapter_config.json")).unwrap();
    candle_core::safetensors::save(&weights, adapter.join("adapter_model.safetensors")).unwrap();

    let host = ready(&fixture("tiny"));
    let tensor = "model.language_model.layers.1.mlp.up_proj.lora_B.weight";
    let shown = type_line(&host, &format!("adapter load {}", adapter.display())).unwrap();
    assert!(shown.contains("warning") && shown.contains(tensor), "{shown}");
    for line in ["chat Hello", "compare Hello", "predict creatures", "evaluate", "train 1 batch=1 accum=1"] {
        let message = type_line(&host, line).expect_err(line);
        assert!(message.contains(tensor) && message.contains("of the adapter"), "{line}: {message}");
    }
    let shown = type_line(&host, &format!("save {}", saved.display())).unwrap();
    assert!(shown.contains("warning") && shown.contains(tensor), "{shown}");
    assert!(saved.join("adapter_model.safetensors").exists(), "nothing is lost");
    let message = type_line(&host, &format!("export {}", exported.display())).unwrap_err();
    assert!(message.contains(tensor) && !exported.exists(), "{message}");

    type_line(&host, "adapter off").unwrap();
    type_line(&host, "chat Hello").unwrap();
    type_line(&host, "evaluate").unwrap();
}
