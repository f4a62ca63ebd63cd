//! Which layers an adapter changes: from what a user writes to layers, and from layers to what PEFT reads.

use std::collections::BTreeSet;
use std::fmt;

use tunebook_quote::quote;

use super::ModelShape;
use super::error::AdapterError;
use super::frozen_parts::FrozenParts;
use super::frozen_parts::Part;
use crate::error::Result;

/// The layers to adapt, as LLaMA-Factory's `lora_target` says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LoraTarget {
    /// Every linear layer of the parts that are not frozen, but the head; of the projector those which are called as a layer
    /// of another part is.
    #[default]
    All,
    /// Every linear layer of the parts that are not frozen whose name contains one of these.
    List(Vec<String>),
}

impl LoraTarget {
    /// Reads `all` or a list such as `q_proj,v_proj`, which names something.
    pub fn parse(text: &str) -> Option<Self> {
        let names: Vec<_> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        match names[..] {
            [] => None,
            ["all"] => Some(Self::All),
            _ => Some(Self::List(names.into_iter().map(str::to_string).collect())),
        }
    }

    /// The ids of the layers, ascending.
    ///
    /// # Errors
    /// An entry of the list names nothing, or nothing that can be trained.
    pub(super) fn resolve(&self, shape: &ModelShape, frozen: FrozenParts) -> Result<Vec<usize>> {
        let linears = &shape.linears;
        let part = |id: usize| shape.names.part(&linears[id].name);
        let trainable = || (0..linears.len()).filter(|id| !frozen.includes(part(*id)));
        let entries = match self {
            Self::All => {
                let name = |id: usize| last_component(&linears[id].name);
                let elsewhere: BTreeSet<_> =
                    trainable().filter(|&id| part(id) != Part::MultiModalProjector).map(name).collect();
                let ids: Vec<_> = trainable().filter(|&id| elsewhere.contains(name(id))).collect();
                if ids.is_empty() {
                    return Err(AdapterError::AllFrozen.into());
                }
                return Ok(ids);
            }
            Self::List(entries) => entries,
        };
        let mut ids = BTreeSet::new();
        for entry in entries {
            let named: Vec<_> = trainable().filter(|&id| linears[id].name.contains(entry)).collect();
            if named.is_empty() {
                return Err(names_nothing(entry, shape, frozen).into());
            }
            ids.extend(named);
        }
        Ok(ids.into_iter().collect())
    }
}

fn names_nothing(entry: &str, shape: &ModelShape, frozen: FrozenParts) -> AdapterError {
    let mut names = Vec::new();
    for linear in shape.linears.iter().filter(|linear| !frozen.includes(shape.names.part(&linear.name))) {
        let last = last_component(&linear.name);
        if !names.contains(&last) {
            names.push(last);
        }
    }
    let (target, names) = (quote(entry), names.join(", "));
    if shape.linears.iter().any(|linear| linear.name.contains(entry)) {
        AdapterError::FrozenTarget { target, names }
    } else {
        AdapterError::UnknownTarget { target, names }
    }
}

impl fmt::Display for LoraTarget {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::List(names) => f.write_str(&names.join(",")),
        }
    }
}

/// `target_modules` of `adapter_config.json`, from which PEFT makes the layers that the tensors are then loaded
/// into. It takes an entry as the end of a module's name.
///
/// A bare `gate_proj` would also hit the vision tower, whose blocks have a layer of that name; PEFT would make
/// layers there that the file has no tensors for. So a bare name stands only where all layers of that name are
/// adapted, and others are named from `layers` or `blocks` on: not in full, since what comes before differs
/// between versions of transformers (`model.layers…`, `model.language_model.layers…`).
pub(super) fn target_modules(shape: &ModelShape, adapted: impl Fn(usize) -> bool) -> Vec<String> {
    let linears = &shape.linears;
    let mut partly = BTreeSet::new();
    for (id, linear) in linears.iter().enumerate() {
        if !adapted(id) {
            partly.insert(last_component(&linear.name));
        }
    }
    let mut entries = BTreeSet::new();
    for (_, linear) in linears.iter().enumerate().filter(|(id, _)| adapted(*id)) {
        let last = last_component(&linear.name);
        entries.insert(if partly.contains(last) { shape.names.within_tower(&linear.name) } else { last });
    }
    entries.into_iter().map(str::to_string).collect()
}

fn last_component(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
