//! Adapter folders as PEFT lays them out: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::Device;
use candle_core::Var;
use half::bf16;
use half::f16;
use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::Adapter;
use super::Half;
use super::LinearShape;
use super::Lora;
use super::config;
use super::error::AdapterError;
use super::target::LoraTarget;
use super::target::target_modules;
use crate::checkpoint::canonical_name;
use crate::error::Error;
use crate::error::Result;
use crate::replace_file::replace_file;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT's wrapper puts in front of a module's name.
const WRAPPER: &str = "base_model.model.";

pub(super) fn load(folder: &Path, linears: &[LinearShape]) -> Result<Adapter> {
    let path = folder.join(WEIGHTS);
    if !path.exists() && folder.join("adapter_model.bin").exists() {
        return Err(AdapterError::Pickle { path: folder.into() }.into());
    }
    if !path.exists() || !folder.join(CONFIG).exists() {
        return Err(AdapterError::NoAdapter { path: folder.into() }.into());
    }
    let mut config = config::read(&folder.join(CONFIG))?;
    let modules = read_modules(&path, config.r, linears)?;
    let adapted: Vec<_> = (0..linears.len()).filter(|id| modules[*id].is_some()).collect();
    if config.target.resolve(linears)? != adapted {
        config.target = LoraTarget::List(target_modules(linears, |id| modules[id].is_some()));
    }
    Ok(Adapter { config, modules })
}

pub(super) fn save(adapter: &Adapter, folder: &Path, linears: &[LinearShape], base_model: &str) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.into(), source })?;
    let vars = adapter.vars();
    let tensors = vars.iter().map(|(name, var)| (format!("{WRAPPER}{name}"), var.as_tensor()));
    let path = folder.join(WEIGHTS);
    // transformers takes no safetensors file without this.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| Error::Write { path: path.clone(), source: std::io::Error::other(error) })?;
    replace_file(&path, &bytes).map_err(|source| Error::Write { path, source })?;

    let targets = target_modules(linears, |id| adapter.get(id).is_some());
    let path = folder.join(CONFIG);
    replace_file(&path, config::to_json(&adapter.config, &targets, base_model).as_bytes())
        .map_err(|source| Error::Write { path, source })
}

fn read_modules(path: &Path, r: usize, linears: &[LinearShape]) -> Result<Vec<Option<Lora>>> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| AdapterError::Safetensors { path: path.into(), problem: error.to_string() })?;
    let ids: HashMap<&str, usize> = linears.iter().enumerate().map(|(id, l)| (l.name.as_str(), id)).collect();
    let mut halves = vec![[None, None]; linears.len()];
    // In the order of their names, so that the same file always gives the same message.
    let mut named: Vec<_> = tensors.iter().collect();
    named.sort_by_key(|(name, _)| *name);
    for (name, tensor) in named {
        let place = || (path.to_path_buf(), name.to_string());
        let Some((module, half)) = parse_tensor_name(name) else {
            let (path, name) = place();
            return Err(AdapterError::UnknownTensor { path, name }.into());
        };
        let Some(&id) = ids.get(module.as_str()) else {
            let (path, name) = place();
            return Err(AdapterError::UnknownModule { path, name, module }.into());
        };
        let expected = match half {
            Half::A => [r, linears[id].cols],
            Half::B => [linears[id].rows, r],
        };
        if tensor.shape() != expected {
            let ((path, name), found) = (place(), tensor.shape().to_vec());
            return Err(AdapterError::Shape { path, name, expected, found }.into());
        }
        let Some(values) = widen(&tensor) else {
            let ((path, name), dtype) = (place(), format!("{:?}", tensor.dtype()));
            return Err(AdapterError::DType { path, name, dtype }.into());
        };
        let var = Var::from_vec(values, &expected, &Device::Cpu)?;
        if halves[id][half as usize].replace(var).is_some() {
            let (path, name) = place();
            return Err(AdapterError::Twice { path, name }.into());
        }
    }
    if tensors.is_empty() {
        return Err(AdapterError::Empty { path: path.into() }.into());
    }
    let missing = |linear: &LinearShape, half: Half| AdapterError::MissingHalf {
        path: path.into(),
        name: format!("{WRAPPER}{}{}", linear.name, half.suffix()),
    };
    let whole = halves.into_iter().zip(linears).map(|(halves, linear)| match halves {
        [Some(a), Some(b)] => Ok(Some(Lora { module: linear.name.clone(), a, b })),
        [None, None] => Ok(None),
        [None, _] => Err(missing(linear, Half::A).into()),
        [_, None] => Err(missing(linear, Half::B).into()),
    });
    whole.collect()
}

/// The module, by its name today, and which of its matrices a tensor is.
fn parse_tensor_name(name: &str) -> Option<(String, Half)> {
    let name = name.strip_prefix(WRAPPER)?.strip_suffix(".weight")?;
    let name = name.strip_suffix(".default").unwrap_or(name);
    let (module, half) = match name.strip_suffix(".lora_A") {
        Some(module) => (module, Half::A),
        None => (name.strip_suffix(".lora_B")?, Half::B),
    };
    Some((canonical_name(module), half))
}

/// The values as f32, from a dtype that is stored little-endian without alignment.
fn widen(tensor: &TensorView) -> Option<Vec<f32>> {
    let data = tensor.data();
    Some(match tensor.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|v| f32::from_le_bytes(*v)).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|v| f16::from_le_bytes(*v).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|v| bf16::from_le_bytes(*v).to_f32()).collect(),
        _ => return None,
    })
}
