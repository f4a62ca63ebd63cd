//! Which parameters train, and how many on the shapes of Qwen2.5-VL-3B, is what LLaMA-Factory says
//! (`reference/trainable.py`).

use std::fs::File;
use std::io::Write;
use std::path::Path;

use candle_core::Device;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::FreezeConfig;
use tunebook_nn::adapter::FrozenParts;
use tunebook_nn::adapter::LoraConfig;
use tunebook_nn::adapter::LoraTarget;

use crate::fixtures::fixture;

fn cases() -> Vec<Value> {
    let path = fixture("train/trainable.json");
    let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    fixture["cases"].as_array().unwrap().clone()
}

#[test]
fn the_same_parameters_train() {
    let net = VisionLanguageModel::load(&fixture("tiny"), None, Device::Cpu).unwrap();
    let cases = cases();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let arguments = case["arguments"].as_object().unwrap();
        let mut names: Vec<_> = trainable(&net, arguments).into_iter().map(|(name, _)| name).collect();
        names.sort();
        let expected = case["names"].as_array().unwrap().iter().map(|name| {
            // In memory PEFT has the magnitudes in a module, in its files it has not.
            name.as_str().unwrap().replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
        });
        let mut expected: Vec<String> = expected.collect();
        expected.sort();
        assert_eq!(names, expected, "{arguments:?}");
    }
}

#[test]
fn as_many_train_on_the_3b_model() {
    let folder = tempfile::tempdir().unwrap();
    write_3b(folder.path());
    let net = VisionLanguageModel::load(folder.path(), None, Device::Cpu).unwrap();
    assert_eq!(net.parameters, 3_754_622_976);
    for case in cases() {
        let arguments = case["arguments"].as_object().unwrap();
        // These read and copy weights, of which there are 7.5 GB.
        if ["use_dora", "additional_target"].iter().any(|key| arguments.contains_key(*key)) {
            continue;
        }
        let found: usize = trainable(&net, arguments).iter().map(|(_, parameters)| parameters).sum();
        assert_eq!(Some(found as u64), case["parameters"].as_u64(), "{arguments:?}");
    }
}

/// What trains with LLaMA-Factory's `arguments`: names and numbers of elements.
fn trainable(net: &VisionLanguageModel, arguments: &Map<String, Value>) -> Vec<(String, usize)> {
    let flag = |key: &str, default: bool| arguments.get(key).map_or(default, |value| value.as_bool().unwrap());
    let text =
        |key: &str, default: &str| arguments.get(key).map_or(default, |value| value.as_str().unwrap()).to_string();
    let names = |key: &str, default: &str| -> Vec<String> {
        text(key, default).split(',').filter(|name| !name.is_empty()).map(str::to_string).collect()
    };
    let frozen = FrozenParts {
        freeze_vision_tower: flag("freeze_vision_tower", true),
        freeze_multi_modal_projector: flag("freeze_multi_modal_projector", true),
        freeze_language_model: flag("freeze_language_model", false),
    };
    let tensors = match text("finetuning_type", "lora").as_str() {
        "freeze" => {
            let config = FreezeConfig {
                freeze_trainable_layers: arguments.get("freeze_trainable_layers").map_or(2, |n| n.as_i64().unwrap()),
                freeze_trainable_modules: names("freeze_trainable_modules", "all"),
                freeze_extra_modules: names("freeze_extra_modules", ""),
            };
            net.frozen_but(&config, frozen).unwrap()
        }
        "full" => net.all_but(frozen).unwrap(),
        _ => {
            let config = LoraConfig {
                r: arguments.get("lora_rank").map_or(8, |r| r.as_u64().unwrap() as usize),
                use_dora: flag("use_dora", false),
                target: LoraTarget::parse(&text("lora_target", "all")).unwrap(),
                frozen,
                modules_to_save: names("additional_target", ""),
                ..LoraConfig::default()
            };
            let vars = net.lora(config, 0, &|| false).unwrap().vars();
            return vars.into_iter().map(|(name, var)| (name, var.elem_count())).collect();
        }
    };
    tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor.dims.iter().product())).collect()
}

/// A model folder with the shapes of Qwen2.5-VL-3B and a file that is one hole.
fn write_3b(folder: &Path) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(fixture("tiny/config.json")).unwrap()).unwrap();
    let text = json!({
        "hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16, "num_hidden_layers": 36,
        "num_key_value_heads": 2, "vocab_size": 151936,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    });
    let vision = json!({
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048,
        "fullatt_block_indexes": [7, 15, 23, 31],
    });
    config.as_object_mut().unwrap().extend(text.as_object().unwrap().clone());
    config["vision_config"].as_object_mut().unwrap().extend(vision.as_object().unwrap().clone());
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();

    let mut header = Map::new();
    let mut end = 0;
    for (name, dims) in tensors_3b() {
        let start = end;
        end += 2 * dims.iter().product::<usize>();
        header.insert(name, json!({"dtype": "BF16", "shape": dims, "data_offsets": [start, end]}));
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(folder.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}

fn tensors_3b() -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_string(), vec![151936, 2048]),
        ("model.norm.weight".to_string(), vec![2048]),
        ("visual.patch_embed.proj.weight".to_string(), vec![1280, 3, 2, 14, 14]),
        ("visual.merger.ln_q.weight".to_string(), vec![1280]),
    ];
    let mut add = |name: String, rows: usize, cols: usize, bias: bool| {
        tensors.push((format!("{name}.weight"), vec![rows, cols]));
        if bias {
            tensors.push((format!("{name}.bias"), vec![rows]));
        }
    };
    add("visual.merger.mlp.0".to_string(), 5120, 5120, true);
    add("visual.merger.mlp.2".to_string(), 2048, 5120, true);
    for i in 0..36 {
        for (name, rows, cols, bias) in [
            ("self_attn.q_proj", 2048, 2048, true),
            ("self_attn.k_proj", 256, 2048, true),
            ("self_attn.v_proj", 256, 2048, true),
            ("self_attn.o_proj", 2048, 2048, false),
            ("mlp.gate_proj", 11008, 2048, false),
            ("mlp.up_proj", 11008, 2048, false),
            ("mlp.down_proj", 2048, 11008, false),
        ] {
            add(format!("model.layers.{i}.{name}"), rows, cols, bias);
        }
    }
    for i in 0..32 {
        for (name, rows, cols) in [
            ("attn.qkv", 3840, 1280),
            ("attn.proj", 1280, 1280),
            ("mlp.gate_proj", 3420, 1280),
            ("mlp.up_proj", 3420, 1280),
            ("mlp.down_proj", 1280, 3420),
        ] {
            add(format!("visual.blocks.{i}.{name}"), rows, cols, true);
        }
    }
    let norms = |prefix: &str, count: usize, names: [&str; 2], width: usize| {
        let name = |i: usize| names.map(|name| (format!("{prefix}.{i}.{name}.weight"), vec![width]));
        (0..count).flat_map(name).collect::<Vec<_>>()
    };
    tensors.extend(norms("model.layers", 36, ["input_layernorm", "post_attention_layernorm"], 2048));
    tensors.extend(norms("visual.blocks", 32, ["norm1", "norm2"], 1280));
    tensors
}
