//! Which parameters train, and how many on published shapes, is what LLaMA-Factory says
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

use crate::fixtures::Family;

fn reference(family: Family) -> Value {
    serde_json::from_slice(&std::fs::read(family.fixture("train/trainable.json")).unwrap()).unwrap()
}

fn cases(family: Family) -> Vec<Value> {
    let cases = reference(family)["cases"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 30);
    cases
}

#[test]
fn the_same_parameters_train() {
    for family in Family::ALL {
        let net = VisionLanguageModel::load(&family.fixture("tiny"), None, Device::Cpu).unwrap();
        for case in cases(family) {
            let arguments = case["arguments"].as_object().unwrap();
            let mut names: Vec<_> = trainable(&net, arguments).into_iter().map(|(name, _)| name).collect();
            names.sort();
            let expected = case["names"].as_array().unwrap().iter().map(|name| {
                // In memory PEFT has the magnitudes in a module, in its files it has not.
                name.as_str().unwrap().replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
            });
            let mut expected: Vec<String> = expected.collect();
            expected.sort();
            assert_eq!(names, expected, "{family:?}, {arguments:?}");
        }
    }
}

/// PEFT finds the layers by the shortest ends of their names that no other layer has, if there are more than 20.
#[test]
fn target_modules_are_those_that_peft_writes() {
    let mut compared = 0;
    for family in [Family::Qwen2, Family::Qwen3] {
        let net = VisionLanguageModel::load(&family.fixture("tiny"), None, Device::Cpu).unwrap();
        for case in cases(family) {
            let arguments = case["arguments"].as_object().unwrap();
            let expected = &case["target_modules"]["tiny"];
            let is_short = |names: &Vec<Value>| names.iter().all(|name| !name.as_str().unwrap().starts_with("model."));
            if !expected.as_array().is_some_and(is_short) {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let adapter = net.lora(lora_config(arguments), 0, &|| false).unwrap();
            adapter.save(folder.path(), &net.shape, "tiny").unwrap();
            let saved = std::fs::read(folder.path().join("adapter_config.json")).unwrap();
            let saved: Value = serde_json::from_slice(&saved).unwrap();
            assert_eq!(&saved["target_modules"], expected, "{family:?}, {arguments:?}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "{compared}");
}

#[test]
fn as_many_train_on_published_shapes() {
    let shape_3b = json!({
        "parameters": 3_754_622_976_u64, "tie_word_embeddings": true,
        "text": {"hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16, "num_hidden_layers": 36,
            "num_key_value_heads": 2, "vocab_size": 151936},
        "vision": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048,
            "fullatt_block_indexes": [7, 15, 23, 31]},
    });
    check_shape(Family::Qwen2_5, &shape_3b, |parameters| parameters.as_u64());
    for family in [Family::Qwen2, Family::Qwen3] {
        for (size, shape) in reference(family)["shapes"].as_object().unwrap() {
            check_shape(family, shape, |parameters| parameters[size].as_u64());
        }
    }
}

fn check_shape(family: Family, shape: &Value, of_size: impl Fn(&Value) -> Option<u64>) {
    let folder = tempfile::tempdir().unwrap();
    write_holes(family, shape, folder.path());
    let net = VisionLanguageModel::load(folder.path(), None, Device::Cpu).unwrap();
    assert_eq!(Some(net.parameters as u64), shape["parameters"].as_u64(), "{family:?}, {shape}");
    assert!(net.unused.is_empty(), "{:?}", net.unused);
    for case in cases(family) {
        let arguments = case["arguments"].as_object().unwrap();
        // These read and copy weights, of which there are gigabytes.
        if ["use_dora", "additional_target"].iter().any(|key| arguments.contains_key(*key)) {
            continue;
        }
        let found: usize = trainable(&net, arguments).iter().map(|(_, parameters)| parameters).sum();
        assert_eq!(Some(found as u64), of_size(&case["parameters"]), "{family:?}, {arguments:?}");
    }
}

/// The value of an argument.
struct Arguments<'a>(&'a Map<String, Value>);

impl Arguments<'_> {
    fn flag(&self, key: &str, default: bool) -> bool {
        self.0.get(key).map_or(default, |value| value.as_bool().unwrap())
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.0.get(key).map_or(default, |value| value.as_str().unwrap()).to_string()
    }

    fn names(&self, key: &str, default: &str) -> Vec<String> {
        self.text(key, default).split(',').filter(|name| !name.is_empty()).map(str::to_string).collect()
    }

    fn frozen(&self) -> FrozenParts {
        FrozenParts {
            freeze_vision_tower: self.flag("freeze_vision_tower", true),
            freeze_multi_modal_projector: self.flag("freeze_multi_modal_projector", true),
            freeze_language_model: self.flag("freeze_language_model", false),
        }
    }
}

fn lora_config(arguments: &Map<String, Value>) -> LoraConfig {
    let given = Arguments(arguments);
    LoraConfig {
        r: arguments.get("lora_rank").map_or(8, |r| r.as_u64().unwrap() as usize),
        use_dora: given.flag("use_dora", false),
        target: LoraTarget::parse(&given.text("lora_target", "all")).unwrap(),
        frozen: given.frozen(),
        modules_to_save: given.names("additional_target", ""),
        ..LoraConfig::default()
    }
}

/// What trains with LLaMA-Factory's `arguments`: names and numbers of elements.
fn trainable(net: &VisionLanguageModel, arguments: &Map<String, Value>) -> Vec<(String, usize)> {
    let given = Arguments(arguments);
    let tensors = match given.text("finetuning_type", "lora").as_str() {
        "freeze" => {
            let config = FreezeConfig {
                freeze_trainable_layers: arguments.get("freeze_trainable_layers").map_or(2, |n| n.as_i64().unwrap()),
                freeze_trainable_modules: given.names("freeze_trainable_modules", "all"),
                freeze_extra_modules: given.names("freeze_extra_modules", ""),
            };
            net.frozen_but(&config, given.frozen()).unwrap()
        }
        "full" => net.all_but(given.frozen()).unwrap(),
        _ => {
            let vars = net.lora(lora_config(arguments), 0, &|| false).unwrap().vars();
            return vars.into_iter().map(|(name, var)| (name, var.elem_count())).collect();
        }
    };
    tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor.dims.iter().product())).collect()
}

/// A model folder with these shapes and a file that is one hole.
fn write_holes(family: Family, shape: &Value, folder: &Path) {
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(family.fixture("tiny/config.json")).unwrap()).unwrap();
    let head_dim = head_dim(&shape["text"]);
    let sections = if family == Family::Qwen3 {
        [3 * head_dim / 16, 5 * head_dim / 32]
    } else {
        [head_dim / 8, 3 * head_dim / 16]
    };
    let mut text = shape["text"].clone();
    text["tie_word_embeddings"] = shape["tie_word_embeddings"].clone();
    text["rope_scaling"] = json!({"type": "mrope", "mrope_section": [sections[0], sections[1], sections[1]]});
    let of_text = if config["text_config"].is_object() { &mut config["text_config"] } else { &mut config };
    of_text.as_object_mut().unwrap().extend(text.as_object().unwrap().clone());
    config["tie_word_embeddings"] = shape["tie_word_embeddings"].clone();
    config["vision_config"].as_object_mut().unwrap().extend(shape["vision"].as_object().unwrap().clone());
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();

    let mut header = Map::new();
    let mut end = 0;
    for (name, dims) in tensors(family, shape) {
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

fn head_dim(text: &Value) -> usize {
    let number = |key: &str| text[key].as_u64().map(|number| number as usize);
    number("head_dim").unwrap_or_else(|| number("hidden_size").unwrap() / number("num_attention_heads").unwrap())
}

/// The tensors of a published file of these shapes.
fn tensors(family: Family, shape: &Value) -> Vec<(String, Vec<usize>)> {
    let number = |section: &str, key: &str| shape[section][key].as_u64().unwrap() as usize;
    let (text, vision) = (|key: &str| number("text", key), |key: &str| number("vision", key));
    let is_qwen3 = family == Family::Qwen3;
    let (model, visual) = if is_qwen3 { ("model.language_model", "model.visual") } else { ("model", "visual") };
    let mut tensors = Vec::new();
    let mut vector = |name: String, width: usize| tensors.push((name, vec![width]));

    let (hidden, head_dim) = (text("hidden_size"), head_dim(&shape["text"]));
    let (width, out, ffn) = match family {
        Family::Qwen2 => (vision("embed_dim"), vision("hidden_size"), vision("embed_dim") * vision("mlp_ratio")),
        _ => (vision("hidden_size"), vision("out_hidden_size"), vision("intermediate_size")),
    };
    let (norm, first, second) =
        if is_qwen3 { ("norm", "linear_fc1", "linear_fc2") } else { ("ln_q", "mlp.0", "mlp.2") };
    let vision_norms = if family == Family::Qwen2_5 { &["weight"][..] } else { &["weight", "bias"][..] };
    for i in 0..text("num_hidden_layers") {
        for name in ["input_layernorm", "post_attention_layernorm"] {
            vector(format!("{model}.layers.{i}.{name}.weight"), hidden);
        }
        for name in ["q_norm", "k_norm"].iter().filter(|_| is_qwen3) {
            vector(format!("{model}.layers.{i}.self_attn.{name}.weight"), head_dim);
        }
    }
    vector(format!("{model}.norm.weight"), hidden);
    for part in vision_norms {
        for i in 0..vision("depth") {
            for name in ["norm1", "norm2"] {
                vector(format!("{visual}.blocks.{i}.{name}.{part}"), width);
            }
        }
        vector(format!("{visual}.merger.{norm}.{part}"), width);
    }

    let deepstack = shape["vision"]["deepstack_visual_indexes"].as_array().map_or(0, Vec::len);
    for i in 0..deepstack {
        for part in vision_norms {
            vector(format!("{visual}.deepstack_merger_list.{i}.{norm}.{part}"), 4 * width);
        }
    }
    let patch = if is_qwen3 { 16 } else { 14 };
    tensors.push((format!("{visual}.patch_embed.proj.weight"), vec![width, 3, 2, patch, patch]));
    if is_qwen3 {
        tensors.push((format!("{visual}.patch_embed.proj.bias"), vec![width]));
        tensors.push((format!("{visual}.pos_embed.weight"), vec![2304, width]));
    }
    tensors.push((format!("{model}.embed_tokens.weight"), vec![text("vocab_size"), hidden]));
    if shape["tie_word_embeddings"] == false {
        tensors.push(("lm_head.weight".to_string(), vec![text("vocab_size"), hidden]));
    }

    let mut linear = |name: String, rows: usize, cols: usize, bias: bool| {
        tensors.push((format!("{name}.weight"), vec![rows, cols]));
        if bias {
            tensors.push((format!("{name}.bias"), vec![rows]));
        }
    };
    let mergers = (0..deepstack).map(|i| format!("{visual}.deepstack_merger_list.{i}"));
    for merger in mergers.chain([format!("{visual}.merger")]) {
        linear(format!("{merger}.{first}"), 4 * width, 4 * width, true);
        linear(format!("{merger}.{second}"), out, 4 * width, true);
    }
    let [heads, kv] = ["num_attention_heads", "num_key_value_heads"].map(|key| text(key) * head_dim);
    let text_ffn = text("intermediate_size");
    for i in 0..text("num_hidden_layers") {
        for (name, rows, cols, bias) in [
            ("self_attn.q_proj", heads, hidden, !is_qwen3),
            ("self_attn.k_proj", kv, hidden, !is_qwen3),
            ("self_attn.v_proj", kv, hidden, !is_qwen3),
            ("self_attn.o_proj", hidden, heads, false),
            ("mlp.gate_proj", text_ffn, hidden, false),
            ("mlp.up_proj", text_ffn, hidden, false),
            ("mlp.down_proj", hidden, text_ffn, false),
        ] {
            linear(format!("{model}.layers.{i}.{name}"), rows, cols, bias);
        }
    }
    let feed_forward = match family {
        Family::Qwen2_5 => &[("gate_proj", true), ("up_proj", true), ("down_proj", false)][..],
        Family::Qwen2 => &[("fc1", true), ("fc2", false)],
        Family::Qwen3 => &[("linear_fc1", true), ("linear_fc2", false)],
    };
    for i in 0..vision("depth") {
        linear(format!("{visual}.blocks.{i}.attn.qkv"), 3 * width, width, true);
        linear(format!("{visual}.blocks.{i}.attn.proj"), width, width, true);
        for &(name, widens) in feed_forward {
            let (rows, cols) = if widens { (ffn, width) } else { (width, ffn) };
            linear(format!("{visual}.blocks.{i}.mlp.{name}"), rows, cols, true);
        }
    }
    tensors
}
