//! Folders of copies of the model's own tensors, as freeze and full tuning train them.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use candle_core::Var;
use tunebook_quote::quote_end;

use super::Adapter;
use super::ModelShape;
use super::error::AdapterError;
use crate::error::Error;
use crate::error::Result;
use crate::tensor_file;

/// The trained tensors in f32, whatever the model's dtype, by transformers' names. Not `model.safetensors`, which a
/// program would take for a whole model.
pub(super) const FILE: &str = "trained_weights.safetensors";

pub(super) fn save(tensors: &BTreeMap<String, Var>, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.into(), source })?;
    let tensors = tensors.iter().map(|(name, var)| (name.clone(), var.as_tensor()));
    tensor_file::write(&folder.join(FILE), &[], tensors)
}

pub(super) fn load(folder: &Path, shape: &ModelShape) -> Result<Adapter> {
    let path = folder.join(FILE);
    let mut tensors = BTreeMap::new();
    for (name, floats) in tensor_file::read(&path)? {
        let Some(tensor) = shape.tensors.iter().find(|tensor| tensor.name == name) else {
            return Err(AdapterError::UnknownWeight { path, name: quote_end(&name) }.into());
        };
        if floats.dims != tensor.dims {
            let (expected, found) = (tensor.dims.clone(), floats.dims);
            return Err(AdapterError::WeightShape { path, name, expected, found }.into());
        }
        tensors.insert(name, Var::from_vec(floats.values.into_owned(), floats.dims, &Device::Cpu)?);
    }
    if tensors.is_empty() {
        return Err(AdapterError::NoWeights { path }.into());
    }
    Ok(Adapter::of_tensors(tensors, shape.names))
}
