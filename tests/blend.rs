//! Adapters are blended as PEFT's add_weighted_adapter blends them (`reference/blend.py`).

use std::collections::HashMap;
use std::path::Path;

use candle_core::Device;
use candle_core::Tensor;
use serde_json::Value;
use tunebook_commands::Host;
use tunebook_commands::Lang;

use crate::fixtures::fixture;
use crate::recipe::carry_out;

/// A session with the adapters of the fixture.
fn session() -> Host {
    let host = Host::start(Lang::En).unwrap();
    carry_out(&host, &format!("load {}", fixture("tiny").display())).unwrap();
    for name in ["one", "other", "third", "wide"] {
        carry_out(&host, &format!("adapter load {}", fixture(&format!("blend/{name}")).display())).unwrap();
    }
    host
}

fn tensors(file: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(file, &Device::Cpu).unwrap()
}

/// As `save` writes the adapter that is on: its tensors by their names in the fixture, and its configuration.
fn saved(host: &Host) -> (HashMap<String, Tensor>, Value) {
    let folder = tempfile::tempdir().unwrap();
    carry_out(host, &format!("save {}", folder.path().display())).unwrap();
    let config = std::fs::read(folder.path().join("adapter_config.json")).unwrap();
    let tensors = tensors(&folder.path().join("adapter_model.safetensors"));
    let short = |name: String| name.strip_prefix("base_model.model.").unwrap().to_string();
    let tensors = tensors.into_iter().map(|(name, tensor)| (short(name), tensor)).collect();
    (tensors, serde_json::from_slice(&config).unwrap())
}

fn distance(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

#[test]
fn blends_are_pefts() {
    let file = std::fs::read(fixture("blend/cases.json")).unwrap();
    let cases: Value = serde_json::from_slice(&file).unwrap();
    let expected = tensors(&fixture("blend/blends.safetensors"));
    let host = session();
    for (case, arguments) in cases["cases"].as_object().unwrap() {
        let weights = arguments["weights"].as_object().unwrap();
        let sum: String =
            weights.iter().map(|(name, weight)| format!("{:+}*{name}", weight.as_f64().unwrap())).collect();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let options = arguments.as_object().unwrap().iter().filter(|(key, _)| *key != "weights");
        let options: String = options.map(|(key, value)| format!(" {key}={}", text(value))).collect();
        carry_out(&host, &format!("blend {case}={sum}{options}")).unwrap();

        let (found, config) = saved(&host);
        assert_eq!(config["lora_alpha"], config["r"], "{case}: the scaling is not 1");
        let modules: Vec<_> = found.keys().filter_map(|name| name.strip_suffix(".lora_A.weight")).collect();
        let prefix = format!("{case}.");
        assert_eq!(2 * modules.len(), expected.keys().filter(|name| name.starts_with(&prefix)).count(), "{case}");
        let is_svd = case.contains("svd") && weights.len() > 1;
        // What is pruned before it is decomposed has singular values that lie close together.
        let tolerance = if case.ends_with("_svd") { 1e-4 } else { 1e-6 };
        for module in modules {
            let pair = |tensors: &HashMap<String, Tensor>, prefix: &str| {
                ["A", "B"].map(|factor| tensors[&format!("{prefix}{module}.lora_{factor}.weight")].clone())
            };
            let ([a, b], [peft_a, peft_b]) = (pair(&found, ""), pair(&expected, &prefix));
            let product = distance(&b.matmul(&a).unwrap(), &peft_b.matmul(&peft_a).unwrap());
            assert!(product <= tolerance, "{case}: B A of {module} differs by {product}");
            if !is_svd {
                let factors = distance(&a, &peft_a).max(distance(&b, &peft_b));
                assert!(factors <= 1e-6, "{case}: A or B of {module} differs by {factors}");
            }
        }
    }
}

#[test]
fn a_blend_trains_on_and_is_read_again() {
    let host = session();
    carry_out(&host, "blend mix = 0.7*one - 0.3*third combination_type=cat").unwrap();
    let before = saved(&host).0;
    for line in [
        format!("data creatures dataset_dir={} max_samples=4", fixture("train").display()),
        "train 2 lr=1e-3 batch=2 accum=1".to_string(),
    ] {
        carry_out(&host, &line).unwrap();
    }
    let after = saved(&host).0;
    assert!(before.iter().all(|(name, tensor)| distance(tensor, &after[name]) > 0.0));
    let shown = carry_out(&host, "adapter list").unwrap().join("\n");
    assert!(shown.contains("mix") && shown.contains('6'), "{shown}");
}

#[test]
fn what_cannot_be_blended_is_said() {
    let host = session();
    carry_out(&host, "freeze layers").unwrap();
    for (line, part) in [
        ("blend mix=one+wide combination_type=linear", "ranks 3 and 5"),
        ("blend mix=one+oter", "no adapter named `oter` (did you mean `other`?)"),
        ("blend one=one+other", "already an adapter named `one`"),
        ("blend mix=one+layers", "adapter `layers` cannot be blended: it consists of weights of the model"),
        ("blend mix=one+other combination_type=ties", "combination_type=ties needs density="),
        ("blend mix=one+other combination_type=tie", "which accepts svd, cat, linear, ties"),
        ("blend mix=one+other density=0.5", "`density` has no effect with combination_type=svd"),
        ("blend mix=one+other combination_type=ties density=1.5", "above 0 and up to 1"),
        ("blend mix=one+other svd_rank=5000", "from 1 to 1024"),
        ("blend combination_typ=cat mix=one+other", "did you mean `combination_type`?"),
        ("blend mix=one+other seed=1", "set it with `set seed=1`"),
        ("blend one+other", "has no name for the new adapter: write NEW=0.7*a+0.3*b"),
        ("blend", "`blend` needs more arguments"),
    ] {
        let error = carry_out(&host, line).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
    }
    let shown = carry_out(&host, "adapter list").unwrap().join("\n");
    assert!(!shown.contains("mix"), "{shown}");
}
