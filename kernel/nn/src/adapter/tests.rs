use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;
use serde_json::json;

use super::*;

/// Sizes of a model, as far as they shape its linear layers.
struct Sizes {
    layers: usize,
    hidden: usize,
    kv: usize,
    intermediate: usize,
    blocks: usize,
    vision_hidden: usize,
    vision_intermediate: usize,
}

const QWEN2_5_VL_3B: Sizes = Sizes {
    layers: 36,
    hidden: 2048,
    kv: 256,
    intermediate: 11008,
    blocks: 32,
    vision_hidden: 1280,
    vision_intermediate: 3420,
};

/// The checkpoint in tests/fixtures/tiny.
const TINY: Sizes =
    Sizes { layers: 3, hidden: 64, kv: 32, intermediate: 160, blocks: 4, vision_hidden: 48, vision_intermediate: 100 };

/// Qwen2.5-VL of these sizes, without tensors.
fn shape(sizes: Sizes) -> ModelShape {
    let Sizes { layers, hidden, kv, intermediate, blocks, vision_hidden, vision_intermediate } = sizes;
    let mut shape = ModelShape::new(&crate::models::qwen2_5_vl::FAMILY.names);
    let mut add = |name: String, rows, cols| shape.linears.push(LinearShape { name, rows, cols });
    for layer in 0..layers {
        let name = |rest| format!("model.language_model.layers.{layer}.{rest}");
        add(name("self_attn.q_proj"), hidden, hidden);
        add(name("self_attn.k_proj"), kv, hidden);
        add(name("self_attn.v_proj"), kv, hidden);
        add(name("self_attn.o_proj"), hidden, hidden);
        add(name("mlp.gate_proj"), intermediate, hidden);
        add(name("mlp.up_proj"), intermediate, hidden);
        add(name("mlp.down_proj"), hidden, intermediate);
    }
    for block in 0..blocks {
        let name = |rest| format!("model.visual.blocks.{block}.{rest}");
        add(name("attn.qkv"), 3 * vision_hidden, vision_hidden);
        add(name("attn.proj"), vision_hidden, vision_hidden);
        add(name("mlp.gate_proj"), vision_intermediate, vision_hidden);
        add(name("mlp.up_proj"), vision_intermediate, vision_hidden);
        add(name("mlp.down_proj"), vision_hidden, vision_intermediate);
    }
    add("model.visual.merger.mlp.0".to_string(), 4 * vision_hidden, 4 * vision_hidden);
    add("model.visual.merger.mlp.2".to_string(), hidden, 4 * vision_hidden);
    shape
}

fn config(r: usize, target: &str) -> LoraConfig {
    LoraConfig { r, lora_alpha: 2.0 * r as f64, target: LoraTarget::parse(target).unwrap(), ..LoraConfig::default() }
}

fn values(var: &Var) -> Vec<f32> {
    var.flatten_all().unwrap().to_vec1().unwrap()
}

/// What the adapter holds, by name.
fn contents(adapter: &Adapter) -> BTreeMap<String, Vec<f32>> {
    adapter.vars().into_iter().map(|(name, var)| (name, values(&var))).collect()
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/train").join(name)
}

mod targets {
    use super::*;

    #[test]
    fn the_counts_of_peft_on_the_3b_model() {
        let shape = shape(QWEN2_5_VL_3B);
        for (r, target, modules, parameters) in [
            (8, "all", 252, 14_966_784),
            (64, "all", 252, 119_734_272),
            (8, "proj", 252, 14_966_784),
            (8, "q_proj, v_proj,k_proj,o_proj", 144, 3_686_400),
            (8, "layers.1.", 7, 415_744),
        ] {
            let adapter = Adapter::new(config(r, target), &shape, 42).unwrap();
            assert_eq!((adapter.module_count(), adapter.parameter_count()), (modules, parameters), "{target}");
        }
    }

    #[test]
    fn all_leaves_the_vision_tower_alone() {
        let shape = shape(TINY);
        let adapter = Adapter::new(config(4, "all"), &shape, 42).unwrap();
        for (id, linear) in shape.linears.iter().enumerate() {
            assert_eq!(adapter.get(id).is_some(), linear.name.contains("language_model"), "{}", linear.name);
        }
        assert!(adapter.get(shape.linears.len()).is_none());
    }

    #[test]
    fn all_takes_the_parts_that_are_not_frozen_but_never_the_projector() {
        let shape = shape(TINY);
        let adapted = |freeze_vision_tower, freeze_language_model| {
            let frozen =
                FrozenParts { freeze_vision_tower, freeze_multi_modal_projector: false, freeze_language_model };
            Adapter::new(LoraConfig { frozen, ..config(4, "all") }, &shape, 42)
        };
        assert_eq!(adapted(false, false).unwrap().module_count(), 21 + 20);
        assert_eq!(adapted(false, true).unwrap().module_count(), 20);
        let message = adapted(true, true).unwrap_err().to_string();
        assert!(message.contains("nothing is left to train"), "{message}");
    }

    #[test]
    fn a_target_that_names_nothing_is_refused_with_what_there_is() {
        let message = |target| Adapter::new(config(4, target), &shape(TINY), 42).unwrap_err().to_string();
        assert_eq!(
            message("q_proj,q_prj"),
            "lora_target `q_prj` matches no linear layer; it can be `all`, or some of \
             q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
        );
        assert!(message("qkv").starts_with("lora_target `qkv` matches only frozen layers (freeze_vision_tower"));
    }

    #[test]
    fn what_is_read_is_written() {
        for text in ["all", "q_proj,v_proj"] {
            assert_eq!(LoraTarget::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(LoraTarget::parse(" , "), None);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let good = config(4, "all");
        for (bad, key) in [
            (LoraConfig { r: 0, ..good.clone() }, "lora_rank"),
            (LoraConfig { lora_alpha: f64::NAN, ..good.clone() }, "lora_alpha"),
            (LoraConfig { lora_dropout: 1.0, ..good.clone() }, "lora_dropout"),
        ] {
            let message = Adapter::new(bad, &shape(TINY), 42).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
    }
}

mod initialisation {
    use super::*;

    #[test]
    fn a_is_uniform_within_one_over_the_root_of_in_and_b_is_zero() {
        let shape = shape(QWEN2_5_VL_3B);
        let adapter = Adapter::new(config(8, "layers.0.mlp.down_proj"), &shape, 42).unwrap();
        let lora = adapter.get(6).unwrap();
        assert_eq!((lora.a.dims(), lora.b.dims()), (&[8, 11008][..], &[2048, 8][..]));
        let bound = 1.0 / 11008f32.sqrt();
        let a = values(&lora.a);
        assert!(a.iter().all(|v| v.abs() <= bound));
        let n = a.len() as f32;
        let mean = a.iter().sum::<f32>() / n;
        let deviation = (a.iter().map(|v| v * v).sum::<f32>() / n).sqrt();
        // A uniform distribution deviates by bound / √3; 88,064 draws leave 4 standard errors of about 1 %.
        assert!(mean.abs() < 0.01 * bound, "{mean}");
        assert!((deviation / (bound / 3f32.sqrt()) - 1.0).abs() < 0.01, "{deviation}");
        assert!(values(&lora.b).iter().all(|v| *v == 0.0));
        assert_eq!(lora.scaling, 2.0);
    }

    #[test]
    fn a_layer_starts_alike_with_the_same_seed_whatever_else_is_targeted() {
        let shape = shape(TINY);
        let make = |target, seed| contents(&Adapter::new(config(4, target), &shape, seed).unwrap());
        let (all, again, other) = (make("all", 42), make("all", 42), make("all", 43));
        assert_eq!(all, again);
        for (name, values) in make("v_proj", 42) {
            assert_eq!(values, all[&name]);
            assert_eq!(values == other[&name], name.ends_with("lora_B.weight"), "{name}");
        }
        let first = |layer| &all[&format!("model.language_model.layers.{layer}.self_attn.q_proj.lora_A.weight")];
        assert_ne!(first(0), first(1));
    }
}

mod folders {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let shape = shape(TINY);
        let folder = tempfile::tempdir().unwrap();
        let adapter = Adapter::new(config(4, "q_proj,gate_proj"), &shape, 42).unwrap();
        let b = &adapter.get(0).unwrap().b;
        b.set(&b.ones_like().unwrap()).unwrap();
        adapter.save(&folder.path().join("new/adapter"), &shape, "tiny").unwrap();
        let loaded = Adapter::load(&folder.path().join("new/adapter"), &shape).unwrap();
        assert_eq!(contents(&loaded), contents(&adapter));
        assert!(loaded.loras().all(|lora| lora.scaling == 2.0));
        let again = Adapter::new(loaded.config.clone().unwrap(), &shape, 42).unwrap();
        assert_eq!(again.module_count(), 6, "{}", loaded.config.unwrap().target);
    }

    /// The new weights have their place already, and the new configuration does not.
    #[cfg(unix)]
    #[test]
    fn an_adapter_that_a_process_died_over_is_loaded_whole() {
        let shape = shape(TINY);
        let folder = tempfile::tempdir().unwrap();
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let rest = folder.path().join(format!(".files-{}@{}-abc.complete", dead.id(), tunebook_files::host()));
        let [old, new] = [2, 4].map(|rank| Adapter::new(config(rank, "q_proj"), &shape, 42).unwrap());
        old.save(folder.path(), &shape, "tiny").unwrap();
        new.save(&rest, &shape, "tiny").unwrap();
        let weights = "adapter_model.safetensors";
        std::fs::rename(rest.join(weights), folder.path().join(weights)).unwrap();
        let loaded = Adapter::load(folder.path(), &shape).unwrap();
        assert_eq!((loaded.config.as_ref().unwrap().r, contents(&loaded)), (4, contents(&new)));
        assert!(!rest.exists());
    }

    #[test]
    fn an_adapter_of_peft_loads_and_is_saved_as_peft_saved_it() {
        let shape = shape(TINY);
        let folder = tempfile::tempdir().unwrap();
        let adapter = Adapter::load(&fixture("adapter_nonzero"), &shape).unwrap();
        assert_eq!(
            (adapter.module_count(), adapter.config.as_ref().unwrap().target.to_string()),
            (21, "all".to_string())
        );
        adapter.save(folder.path(), &shape, "tiny").unwrap();
        let read = |path: PathBuf| std::fs::read(path).unwrap();
        let ours = read(folder.path().join("adapter_model.safetensors"));
        let theirs = read(fixture("adapter_nonzero/adapter_model.safetensors"));
        assert_eq!(by_name(&ours), by_name(&theirs));

        let ours: Value = serde_json::from_slice(&read(folder.path().join("adapter_config.json"))).unwrap();
        let theirs: Value = serde_json::from_slice(&read(fixture("adapter_nonzero/adapter_config.json"))).unwrap();
        for (key, value) in ours.as_object().unwrap() {
            assert_eq!(value, &theirs[key], "{key}");
        }
    }

    #[test]
    fn dora_and_saved_modules_load_and_are_saved_as_peft_saved_them() {
        let without_tensors = shape(TINY);
        let tensors = [
            ("model.visual.merger.mlp.2.weight", vec![64, 192]),
            ("model.visual.merger.mlp.2.bias", vec![64]),
            ("model.language_model.norm.weight", vec![64]),
            ("model.language_model.layers.0.input_layernorm.weight", vec![64]),
        ]
        .into_iter()
        .map(|(name, dims)| TensorShape { name: name.to_string(), dims, tied: false });
        let shape = ModelShape { tensors: tensors.collect(), ..without_tensors.clone() };
        for (name, modules, parameters) in [("adapter_dora", 6, 4128), ("adapter_additional", 7, 16_896)] {
            let folder = tempfile::tempdir().unwrap();
            let adapter = Adapter::load(&fixture(name), &shape).unwrap();
            assert_eq!((adapter.module_count(), adapter.parameter_count()), (modules, parameters), "{name}");
            adapter.save(folder.path(), &shape, "tiny").unwrap();
            let read = |path: PathBuf| std::fs::read(path).unwrap();
            let ours = read(folder.path().join("adapter_model.safetensors"));
            let theirs = read(fixture(&format!("{name}/adapter_model.safetensors")));
            assert_eq!(by_name(&ours), by_name(&theirs));
            let ours: Value = serde_json::from_slice(&read(folder.path().join("adapter_config.json"))).unwrap();
            let theirs: Value = serde_json::from_slice(&read(fixture(&format!("{name}/adapter_config.json")))).unwrap();
            for key in ["r", "lora_alpha", "use_dora", "modules_to_save"] {
                assert_eq!(ours[key], theirs[key], "{name}: {key}");
            }
        }
        let message = Adapter::load(&fixture("adapter_additional"), &without_tensors).unwrap_err().to_string();
        assert!(message.contains("additional_target `merger.mlp.2` is not a module of the model"), "{message}");
    }

    #[test]
    fn rslora_is_scaled_by_the_root_of_the_rank() {
        let adapter = Adapter::load(&fixture("adapter_rslora"), &shape(TINY)).unwrap();
        assert!(adapter.loras().all(|lora| lora.scaling == 16.0 / 2.0));
    }

    /// For PEFT it is a LoRA of twice the rank; here it goes on from where it was.
    #[test]
    fn pissa_is_saved_as_the_lora_that_does_the_same_and_loaded_as_it_was() {
        let shape = shape(TINY);
        let folder = tempfile::tempdir().unwrap();
        let mut adapter = Adapter::new(config(2, "q_proj"), &shape, 42).unwrap();
        let tensor = |seed: u64, shape: (usize, usize)| {
            candle_core::Tensor::from_vec(
                (0..shape.0 * shape.1).map(|i| ((i as u64 * 37 + seed) % 19) as f32 - 9.0).collect(),
                shape,
                &Device::Cpu,
            )
            .unwrap()
        };
        for id in [0, 7, 14] {
            adapter.get_mut(id).unwrap().initial = Some([tensor(id as u64, (2, 64)), tensor(9, (64, 2))]);
        }
        adapter.save(folder.path(), &shape, "tiny").unwrap();

        let loaded = Adapter::load(folder.path(), &shape).unwrap();
        assert_eq!(contents(&loaded), contents(&adapter));
        assert_eq!(loaded.get(7).unwrap().scaling, adapter.get(7).unwrap().scaling);
        let initial = |adapter: &Adapter| {
            adapter.get(7).unwrap().initial.clone().unwrap().map(|tensor| tensor.to_vec2::<f32>().unwrap())
        };
        assert_eq!(initial(&loaded), initial(&adapter));

        let config: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("adapter_config.json")).unwrap()).unwrap();
        assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(8)));
        let path = folder.path().join("adapter_model.safetensors");
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let piece =
            |piece| &tensors[&format!("base_model.model.model.language_model.layers.1.self_attn.q_proj.{piece}")];
        let product = piece("lora_B.weight").matmul(piece("lora_A.weight")).unwrap();
        let lora = adapter.get(7).unwrap();
        let [a0, b0] = lora.initial.as_ref().unwrap();
        let expected = (lora.b.matmul(&lora.a).unwrap() - b0.matmul(a0).unwrap()).unwrap();
        let worst = (product - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-6, "{worst}");
    }

    #[test]
    fn older_names_and_the_name_of_the_adapter_are_understood() {
        let adapter = Adapter::load(&fixture("adapter_nonzero"), &shape(TINY)).unwrap();
        for [old, new] in [["model.language_model.layers", "model.layers"], [".weight", ".default.weight"]] {
            let folder = Edited::new();
            folder.rename(|name| Some(name.replace(old, new)));
            assert_eq!(contents(&folder.load().unwrap()), contents(&adapter), "{new}");
        }
    }

    #[test]
    fn an_adapter_on_the_vision_tower_loads_under_both_names() {
        for name in ["base_model.model.visual.blocks.1.attn", "base_model.model.model.visual.blocks.1.attn"] {
            let folder = Edited::new();
            let zeros = vec![0; 8 * 144 * 4];
            let a = (format!("{name}.qkv.lora_A.weight"), Dtype::F32, vec![8, 48], zeros[..8 * 48 * 4].to_vec());
            let b = (format!("{name}.qkv.lora_B.weight"), Dtype::F32, vec![144, 8], zeros);
            folder.write(vec![a, b]);
            let adapter = folder.load().unwrap();
            assert_eq!(adapter.vars()[0].0, "model.visual.blocks.1.attn.qkv.lora_A.weight");
            assert_eq!(adapter.module_count(), 1);
        }
    }

    #[test]
    fn half_precision_is_widened() {
        let folder = Edited::new();
        let path = folder.0.path().join("adapter_model.safetensors");
        let widened = by_name(&std::fs::read(&path).unwrap()).into_iter().map(|(name, (shape, bytes))| {
            let floats = bytes.as_chunks().0.iter().map(|v| f32::from_le_bytes(*v));
            let halves: Vec<u8> = floats.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect();
            (name, Dtype::BF16, shape, halves)
        });
        folder.write(widened.collect());
        let (whole, rounded) = (contents(&Edited::new().load().unwrap()), contents(&folder.load().unwrap()));
        for (name, values) in rounded {
            let expected: Vec<f32> = whole[&name].iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect();
            assert_eq!(values, expected, "{name}");
        }
    }
}

mod refusals {
    use super::*;

    #[track_caller]
    fn assert_refused(folder: &Edited, parts: &[&str]) {
        let message = folder.load().unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    }

    #[test]
    fn a_folder_without_an_adapter() {
        let folder = Edited::new();
        folder.remove("adapter_model.safetensors");
        assert_refused(&folder, &["there is no adapter in", "adapter_config.json and adapter_model.safetensors"]);
        std::fs::write(folder.0.path().join("adapter_model.bin"), "").unwrap();
        assert_refused(&folder, &["only available as adapter_model.bin", "save it again"]);
        let missing = Adapter::load(&folder.0.path().join("none"), &shape(TINY)).unwrap_err().to_string();
        assert!(missing.contains("there is no adapter in"), "{missing}");
    }

    #[test]
    fn a_configuration_that_asks_for_another_method() {
        for (key, value) in [
            ("peft_type", json!("LOHA")),
            ("bias", json!("all")),
            ("lora_bias", json!(true)),
            ("trainable_token_indices", json!([1, 2])),
            ("init_lora_weights", json!("pissa_niter_16")),
        ] {
            let folder = Edited::new();
            folder.set(key, value.clone());
            assert_refused(&folder, &["adapter_config.json", &format!("{key} = {value}"), "not supported"]);
        }
    }

    #[test]
    fn a_configuration_with_wrong_values() {
        for (key, value) in [
            ("r", json!(0)),
            ("r", json!(2.5)),
            ("r", json!("8")),
            ("r", Value::Null),
            ("lora_alpha", json!(-1)),
            ("lora_dropout", json!(1.0)),
            ("use_dora", json!("yes")),
        ] {
            let folder = Edited::new();
            folder.set(key, value.clone());
            assert_refused(&folder, &["adapter_config.json", &format!("{key} is {value}"), "must be"]);
        }
    }

    #[test]
    fn files_that_are_cut_short() {
        let folder = Edited::new();
        let path = folder.0.path().join("adapter_model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 4, 100, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert_refused(&folder, &["adapter_model.safetensors is not a complete safetensors file"]);
        }
        std::fs::write(folder.0.path().join("adapter_config.json"), "{\"r\": 8,").unwrap();
        assert_refused(&folder, &["adapter_config.json is not valid JSON", "line 1"]);
    }

    #[test]
    fn tensors_that_do_not_fit() {
        let q = "base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_A.weight";
        let renamed = |from: &'static str, to: &'static str| {
            let folder = Edited::new();
            folder.rename(move |name| Some(name.replace(from, to)));
            folder
        };
        assert_refused(&renamed("layers.2.", "layers.7."), &["layers.7.", "has no such linear layer"]);
        assert_refused(&renamed("lora_A.weight", "lora_embedding_A"), &["lora_embedding_A", "not supported"]);

        let folder = Edited::new();
        folder.set("use_dora", json!(true));
        assert_refused(&folder, &["has no tensor", "lora_magnitude_vector", "incomplete"]);

        let folder = Edited::new();
        folder.set("r", json!(4));
        assert_refused(&folder, &["has shape [8, 160]", "require [4, 160]", "layers.0.mlp.down_proj.lora_A.weight"]);

        let folder = Edited::new();
        folder.rename(|name| (name != q).then(|| name.to_string()));
        assert_refused(&folder, &[&format!("has no tensor `{q}`"), "incomplete"]);

        let folder = Edited::new();
        let a = |name: &str| (name.to_string(), Dtype::F32, vec![8, 64], vec![0; 8 * 64 * 4]);
        folder.write(vec![a(q), a(&q.replace("model.language_model.", "model."))]);
        assert_refused(&folder, &["layers.1.self_attn.q_proj", "occurs under two names"]);

        let folder = Edited::new();
        folder.rename(|_| None);
        assert_refused(&folder, &["contains no LoRA tensors"]);

        let folder = Edited::new();
        folder.write(vec![(q.to_string(), Dtype::I32, vec![8, 64], vec![0; 8 * 64 * 4])]);
        assert_refused(&folder, &[q, "stored as I32"]);
    }
}

type Named = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn by_name(file: &[u8]) -> Named {
    let tensors = SafeTensors::deserialize(file).unwrap();
    tensors.iter().map(|(name, t)| (name.to_string(), (t.shape().to_vec(), t.data().to_vec()))).collect()
}

/// A copy of the adapter that PEFT made, to be spoilt.
struct Edited(tempfile::TempDir);

impl Edited {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(fixture("adapter_nonzero").join(name), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn load(&self) -> Result<Adapter> {
        Adapter::load(self.0.path(), &shape(TINY))
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
    }

    fn set(&self, key: &str, value: Value) {
        let path = self.0.path().join("adapter_config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config[key] = value;
        std::fs::write(&path, config.to_string()).unwrap();
    }

    /// Gives every tensor the name that `name` makes of its own, and drops it where that is none.
    fn rename(&self, name: impl Fn(&str) -> Option<String>) {
        let tensors = by_name(&std::fs::read(self.0.path().join("adapter_model.safetensors")).unwrap());
        let renamed =
            tensors.into_iter().filter_map(|(old, (shape, data))| Some((name(&old)?, Dtype::F32, shape, data)));
        self.write(renamed.collect());
    }

    fn write(&self, tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>) {
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        let bytes = safetensors::serialize(views, None).unwrap();
        std::fs::write(self.0.path().join("adapter_model.safetensors"), bytes).unwrap();
    }
}
