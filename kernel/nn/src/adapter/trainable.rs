//! Which of the model's tensors train: `modules_to_save` of an adapter, freeze tuning, and full tuning.

use std::collections::BTreeSet;

use tunebook_quote::quote;

use super::ModelShape;
use super::TensorShape;
use super::error::AdapterError;
use super::frozen_parts::FrozenParts;
use super::frozen_parts::Part;
use crate::error::Result;

/// What trains in freeze tuning, by the names of LLaMA-Factory's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeConfig {
    /// So many of the last layers; a negative number means the first ones.
    pub freeze_trainable_layers: i64,
    /// The modules of these layers: `all`, or some of `self_attn`, `mlp` and so on.
    pub freeze_trainable_modules: Vec<String>,
    /// Modules outside of layers.
    pub freeze_extra_modules: Vec<String>,
}

impl FreezeConfig {
    /// The tensors that train. As LLaMA-Factory does, names are compared by parts of them, so that layer 0 is also block 0
    /// of the vision tower where that is not frozen, and `norm` is every norm.
    ///
    /// # Errors
    /// A module that there is not; nothing is left to train.
    pub(crate) fn resolve<'a>(
        &self,
        shape: &'a ModelShape,
        layers: usize,
        frozen: FrozenParts,
    ) -> Result<Vec<&'a TensorShape>> {
        let count = usize::try_from(self.freeze_trainable_layers.unsigned_abs()).unwrap_or(layers).min(layers);
        let trained = if self.freeze_trainable_layers > 0 { layers - count..layers } else { 0..count };
        let own = || shape.tensors.iter().filter(|tensor| !tensor.tied);

        let mut parts = Vec::new();
        let of_layers: BTreeSet<&str> = own().filter_map(|tensor| module_of_layer(&tensor.name)).collect();
        for module in &self.freeze_trainable_modules {
            let part = match module.as_str() {
                "all" => "",
                module if of_layers.contains(module) => module,
                _ => return Err(unknown("freeze_trainable_modules", module, of_layers)),
            };
            parts.extend(trained.clone().map(|layer| format!(".{layer}.{part}")));
        }
        let others: BTreeSet<&str> = own().filter_map(|tensor| module_outside_layers(&tensor.name)).collect();
        for module in &self.freeze_extra_modules {
            if !others.contains(module.as_str()) {
                return Err(unknown("freeze_extra_modules", module, others));
            }
            parts.push(module.clone());
        }
        let projector = !frozen.freeze_multi_modal_projector;
        let chosen = own().filter(|tensor| {
            let part = shape.names.part(&tensor.name);
            let named = parts.iter().any(|named| tensor.name.contains(named))
                || (projector && part == Part::MultiModalProjector);
            named && !frozen.includes(part)
        });
        something(chosen.collect())
    }
}

/// The tensors that train in full tuning: all that are not frozen.
///
/// # Errors
/// All are frozen.
pub(crate) fn full(shape: &ModelShape, frozen: FrozenParts) -> Result<Vec<&TensorShape>> {
    let trains = |tensor: &&TensorShape| !tensor.tied && !frozen.includes(shape.names.part(&tensor.name));
    something(shape.tensors.iter().filter(trains).collect())
}

/// The tensors of the modules whose names end in one of `modules`, as PEFT's `modules_to_save` means it.
///
/// # Errors
/// A module that there is not.
pub(crate) fn modules_to_save<'a>(tensors: &'a [TensorShape], modules: &[String]) -> Result<Vec<&'a TensorShape>> {
    for module in modules {
        if !tensors.iter().any(|tensor| belongs(&tensor.name, module)) {
            let names = tensors.iter().filter_map(|tensor| module_outside_layers(&tensor.name)).collect();
            return Err(unknown("additional_target", module, names));
        }
    }
    Ok(tensors.iter().filter(|tensor| modules.iter().any(|module| belongs(&tensor.name, module))).collect())
}

/// Whether a tensor lies in a module whose name ends in `module`.
fn belongs(tensor: &str, module: &str) -> bool {
    tensor.match_indices('.').any(|(end, _)| tensor[..end].ends_with(module))
}

/// The module of a numbered layer that a tensor belongs to, where it is in the first: `self_attn`, `mlp`, `norm1` …
fn module_of_layer(tensor: &str) -> Option<&str> {
    tensor.rsplit_once(".0.")?.1.split('.').next()
}

/// The module that holds a tensor outside of numbered layers: `embed_tokens`, `norm` …
fn module_outside_layers(tensor: &str) -> Option<&str> {
    let numbered = tensor.split('.').any(|part| part.parse::<usize>().is_ok());
    tensor.rsplit('.').nth(1).filter(|_| !numbered)
}

fn unknown(key: &'static str, module: &str, names: BTreeSet<&str>) -> crate::Error {
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    AdapterError::UnknownTrainable { key, module: quote(module), names }.into()
}

fn something(chosen: Vec<&TensorShape>) -> Result<Vec<&TensorShape>> {
    if chosen.is_empty() { Err(AdapterError::AllFrozen.into()) } else { Ok(chosen) }
}
