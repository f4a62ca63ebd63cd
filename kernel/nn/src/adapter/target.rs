//! Which layers an adapter changes: from what a user writes to layers, and from layers to what PEFT reads.

use std::collections::BTreeSet;
use std::collections::HashSet;
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

/// `target_modules` of `adapter_config.json`, from which PEFT makes the layers that the tensors are then loaded into. It takes
/// an entry as the end of a module's name.
///
/// A bare `gate_proj` may also hit the vision tower, whose blocks have a layer of that name, and `proj` the convolution of
/// the patch embedding; PEFT would make layers there that the file has no tensors for. So each layer is named by as many of
/// the last parts of its name as only layers that are adapted have, which is what PEFT itself writes. At most that is from
/// `layers` or `blocks` on: what comes before differs between versions of transformers (`model.layers…`,
/// `model.language_model.layers…`).
pub(super) fn target_modules(shape: &ModelShape, adapted: impl Fn(usize) -> bool) -> Vec<String> {
    let linears = || shape.linears.iter().enumerate();
    let chosen: HashSet<&str> =
        linears().filter(|(id, _)| adapted(*id)).map(|(_, linear)| linear.name.as_str()).collect();
    let modules = shape.tensors.iter().filter_map(|tensor| tensor.name.strip_suffix(".weight"));
    let modules = modules.chain(linears().map(|(_, linear)| linear.name.as_str()));
    let others: HashSet<&str> = modules.filter(|module| !chosen.contains(module)).collect();
    let is_end = |module: &str, end: &str| module.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    let entries = chosen.iter().map(|name| {
        let within = shape.names.within_tower(name);
        let mut ends = within.rmatch_indices('.').map(|(dot, _)| &within[dot + 1..]);
        ends.find(|end| !others.iter().any(|module| is_end(module, end))).unwrap_or(within)
    });
    let entries: BTreeSet<_> = entries.collect();
    entries.into_iter().map(str::to_string).collect()
}

fn last_component(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
