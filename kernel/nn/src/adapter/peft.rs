//! Adapter folders as PEFT lays them out: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;

use candle_core::Device;
use candle_core::Tensor;
use candle_core::Var;
use safetensors::SafeTensors;
use tunebook_files::NewFolder;
use tunebook_files::replace_file;
use tunebook_quote::message;
use tunebook_quote::quote_end;

use super::Adapter;
use super::Lora;
use super::LoraConfig;
use super::Magnitude;
use super::ModelShape;
use super::TensorShape;
use super::config;
use super::config::InitLoraWeights;
use super::error::AdapterError;
use super::lora::Piece;
use super::target::target_modules;
use super::trainable::modules_to_save;
use crate::error::Error;
use crate::error::Result;
use crate::models::TensorNames;
use crate::tensor_file;
use crate::tensor_file::widened;

pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT's wrapper puts in front of a module's name.
const WRAPPER: &str = "base_model.model.";
/// In a file's metadata: the second halves of A and B are what PiSSA began with. For PEFT, which takes no notice, the
/// file is a LoRA of twice the rank.
const PISSA: &str = "tunebook.pissa";

pub(super) fn load(folder: &Path, shape: &ModelShape) -> Result<Adapter> {
    // Of a process that died while it replaced the two files, one may be the old one still.
    tunebook_files::sweep(folder);
    let path = folder.join(WEIGHTS);
    if !path.exists() && folder.join("adapter_model.bin").exists() {
        return Err(AdapterError::Pickle { path: folder.into() }.into());
    }
    if !folder.join(CONFIG).exists() && folder.join("config.json").exists() {
        return Err(AdapterError::WholeModel { path: folder.into() }.into());
    }
    if !path.exists() || !folder.join(CONFIG).exists() {
        return Err(AdapterError::NoAdapter { path: folder.into() }.into());
    }
    let mut config = config::read(&folder.join(CONFIG))?;
    let file = File::read(&path)?;
    if file.pissa {
        halve(&mut config);
    }
    let mut adapter = file.adapter(&config, shape)?;
    config.retarget(shape, |id| adapter.modules[id].is_some());
    config.ensure_weight_tying &= adapter.tensor(shape.names.embedding).is_some() && shape.is_tied();
    adapter.config = Some(config);
    Ok(adapter)
}

pub(super) fn save(
    adapter: &Adapter,
    mut config: LoraConfig,
    folder: &Path,
    shape: &ModelShape,
    base_model: &str,
) -> Result<()> {
    let error = |source| Error::Write { path: folder.into(), source };
    std::fs::create_dir_all(folder).map_err(error)?;
    // New weights beside an old configuration would be another adapter.
    let new = NewFolder::within(folder).map_err(error)?;
    let mut metadata: &[(&str, &str)] = &[];
    let mut tensors: BTreeMap<String, Tensor> =
        adapter.vars().into_iter().map(|(name, var)| (name, var.as_tensor().clone())).collect();
    for lora in adapter.loras().filter(|lora| lora.initial.is_some()) {
        let (a, b) = lora.plain_factors()?;
        for (piece, tensor) in [(Piece::A, a), (Piece::B, b)] {
            tensors.insert(format!("{}{}", lora.module, piece.suffix()), tensor);
        }
        metadata = &[(PISSA, "true")];
    }
    if !metadata.is_empty() {
        double(&mut config);
    }
    if let Some(embedding) = adapter.tensor(shape.names.embedding).filter(|_| config.ensure_weight_tying) {
        tensors.insert(shape.names.head.to_string(), embedding.as_tensor().clone());
    }
    let tensors = tensors.iter().map(|(name, tensor)| (format!("{WRAPPER}{name}"), tensor));
    tensor_file::write(&new.path().join(WEIGHTS), metadata, tensors)?;

    let targets = target_modules(shape, |id| adapter.get(id).is_some());
    replace_file(&new.path().join(CONFIG), config::to_json(&config, &targets, base_model).as_bytes()).map_err(error)?;
    new.merge().map_err(error)
}

/// Twice the rank at the same scaling.
fn double(config: &mut LoraConfig) {
    config.r *= 2;
    config.lora_alpha *= if config.use_rslora { 2f64.sqrt() } else { 2.0 };
}

/// Back from that.
fn halve(config: &mut LoraConfig) {
    config.r /= 2;
    config.lora_alpha /= if config.use_rslora { 2f64.sqrt() } else { 2.0 };
    config.init_lora_weights = InitLoraWeights::Pissa { niter: None };
}

/// The tensors of an adapter's file as f32, in the order of their names, so that the same file always gives the same
/// message.
struct File<'a> {
    path: &'a Path,
    tensors: BTreeMap<String, Var>,
    pissa: bool,
}

impl<'a> File<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let malformed = |error: safetensors::SafeTensorError| AdapterError::Safetensors {
            path: path.into(),
            problem: message(&error.to_string()),
        };
        let bytes = tunebook_files::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let file = SafeTensors::deserialize(&bytes).map_err(malformed)?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(malformed)?;
        let pissa = metadata.metadata().as_ref().is_some_and(|metadata| metadata.contains_key(PISSA));
        let mut tensors = BTreeMap::new();
        for (name, tensor) in file.iter() {
            let values = widened(tensor.dtype(), tensor.data()).ok_or_else(|| AdapterError::DType {
                path: path.into(),
                name: quote_end(name),
                dtype: format!("{:?}", tensor.dtype()),
            })?;
            tensors.insert(name.to_string(), Var::from_vec(values, tensor.shape(), &Device::Cpu)?);
        }
        if tensors.is_empty() {
            return Err(AdapterError::Empty { path: path.into() }.into());
        }
        Ok(Self { path, tensors, pissa })
    }

    fn adapter(self, config: &LoraConfig, shape: &ModelShape) -> Result<Adapter> {
        let ModelShape { names, linears, tensors } = shape;
        let path = self.path.to_path_buf();
        let ids: HashMap<&str, usize> = linears.iter().enumerate().map(|(id, l)| (l.name.as_str(), id)).collect();
        let saved: HashMap<&str, &TensorShape> = modules_to_save(tensors, &config.modules_to_save)?
            .into_iter()
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect();
        let mut pieces: Vec<[Option<Var>; 3]> = vec![[None, None, None]; linears.len()];
        let mut others = BTreeMap::new();
        for (name, var) in self.tensors {
            let unknown = || AdapterError::UnknownTensor { path: path.clone(), name: quote_end(&name) };
            let (module, piece) = parse_tensor_name(&name, names).ok_or_else(unknown)?;
            if module == names.head && config.ensure_weight_tying && shape.is_tied() {
                // The embedding's copy once more.
                continue;
            }
            let expected = match piece {
                None => saved.get(module.as_str()).ok_or_else(unknown)?.dims.clone(),
                Some(piece) => {
                    let id = ids.get(module.as_str()).ok_or_else(|| AdapterError::UnknownModule {
                        path: path.clone(),
                        name: quote_end(&name),
                        module: quote_end(&module),
                    })?;
                    let r = config.rank_of(&module, names) * if self.pissa { 2 } else { 1 };
                    match piece {
                        Piece::A => vec![r, linears[*id].cols],
                        Piece::B => vec![linears[*id].rows, r],
                        Piece::Magnitude => vec![linears[*id].rows],
                    }
                }
            };
            if var.dims() != expected {
                let found = var.dims().to_vec();
                return Err(AdapterError::Shape { path, name, expected, found }.into());
            }
            let before = match piece {
                None => others.insert(module, var),
                Some(piece) => pieces[ids[module.as_str()]][piece as usize].replace(var),
            };
            if before.is_some() {
                return Err(AdapterError::Twice { path, name }.into());
            }
        }
        let missing = |name: String| AdapterError::MissingHalf { path: path.clone(), name: format!("{WRAPPER}{name}") };
        if let Some(name) = saved.keys().find(|name| !others.contains_key(**name)) {
            return Err(missing(name.to_string()).into());
        }
        let mut modules = Vec::with_capacity(linears.len());
        for (pieces, linear) in pieces.into_iter().zip(linears) {
            if pieces.iter().all(Option::is_none) {
                modules.push(None);
                continue;
            }
            let missing = |piece: Piece| missing(format!("{}{}", linear.name, piece.suffix()));
            let [a, b, magnitude] = pieces;
            let (a, b) = (a.ok_or_else(|| missing(Piece::A))?, b.ok_or_else(|| missing(Piece::B))?);
            if config.use_dora && magnitude.is_none() {
                return Err(missing(Piece::Magnitude).into());
            }
            let magnitude = magnitude.filter(|_| config.use_dora).map(Magnitude::new);
            let (module, scaling) = (linear.name.clone(), config.scaling_of(&linear.name, names));
            let lora = Lora { module, a, b, scaling, magnitude, initial: None };
            modules.push(Some(if self.pissa { split(lora)? } else { lora }));
        }
        Ok(Adapter { config: None, names, modules, tensors: others })
    }
}

/// A PiSSA layer out of the LoRA of twice the rank that it was written as.
fn split(lora: Lora) -> Result<Lora> {
    let r = lora.a.dims()[0] / 2;
    let [a, a0] = [0, r].map(|start| lora.a.narrow(0, start, r));
    let [b, b0] = [0, r].map(|start| lora.b.narrow(1, start, r));
    let initial = Some([a0?.force_contiguous()?, b0?.neg()?.force_contiguous()?]);
    let [a, b] = [a?.force_contiguous()?, b?.force_contiguous()?];
    Ok(Lora { a: Var::from_tensor(&a)?, b: Var::from_tensor(&b)?, initial, ..lora })
}

/// A module and which of its pieces a tensor is; or, of `modules_to_save`, the tensor. By their names today.
fn parse_tensor_name(name: &str, names: &TensorNames) -> Option<(String, Option<Piece>)> {
    let name = name.strip_prefix(WRAPPER)?;
    let plain = name.strip_suffix(".weight").unwrap_or(name);
    let plain = plain.strip_suffix(".default").unwrap_or(plain);
    for (suffix, piece) in [(".lora_A", Piece::A), (".lora_B", Piece::B), (".lora_magnitude_vector", Piece::Magnitude)]
    {
        if let Some(module) = plain.strip_suffix(suffix) {
            return Some((names.canonical(module), Some(piece)));
        }
    }
    let name = name.replace(".modules_to_save.default.", ".");
    (!name.contains(".lora_")).then(|| (names.canonical(&name), None))
}
