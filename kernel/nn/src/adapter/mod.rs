//! What is trained on top of a model that never changes.
//!
//! Everything that trains is an adapter: LoRA pairs A and B, in the folders in which PEFT keeps them, or float32 copies
//! of the model's own tensors (`freeze`, `full`, and LoRA's `modules_to_save`), which the forward pass prefers to the
//! frozen ones. So one loop, one optimizer, one checkpoint format and one `compare` serve all methods, and turning the
//! adapter off gives the base model. DoRA adds a vector of magnitudes. PiSSA keeps the A and B that it began with and
//! subtracts their product. `export` rounds float32 to the checkpoint's dtype once.

mod blend;
mod config;
mod copies;
pub mod error;
mod frozen_parts;
mod lora;
mod patterns;
mod peft;
mod target;
pub(crate) mod trainable;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use candle_core::Tensor;
use candle_core::Var;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;

use crate::error::Result;
use crate::models::TensorNames;

pub use blend::Combination;
pub use blend::MajoritySign;
pub use blend::Pruning;
pub use blend::Source;
pub use blend::TaskMerge;
pub use config::InitLoraWeights;
pub use config::LoraConfig;
pub use error::AdapterError;
pub use error::Expected;
pub use error::NeedsFullWeights;
pub use error::Unblendable;
pub use frozen_parts::FrozenParts;
pub use frozen_parts::Part;
pub use lora::Lora;
pub use lora::Magnitude;
pub use patterns::Patterns;
pub use target::LoraTarget;
pub use trainable::FreezeConfig;

/// First of the random streams that `A` is drawn from; the layer with id `i` has stream `INITIALISATION + i`, so that
/// it starts alike whichever other layers are targeted.
const INITIALISATION: u64 = 3 << 32;

/// A linear layer of the model. Its place in the model's list is its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// As transformers names the module, e.g. `model.language_model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub cols: usize,
}

/// A tensor of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// As transformers names it, e.g. `model.language_model.norm.weight`.
    pub name: String,
    pub dims: Vec<usize>,
    /// Whether it is the head's and the checkpoint has it only as the embedding.
    pub tied: bool,
}

/// What a model consists of, as far as adapters are concerned.
#[derive(Clone, Debug)]
pub struct ModelShape {
    pub names: &'static TensorNames,
    /// Every linear layer but the head, in the order of their ids.
    pub linears: Vec<LinearShape>,
    /// Every tensor.
    pub tensors: Vec<TensorShape>,
}

impl ModelShape {
    /// Of a model without layers and tensors.
    pub fn new(names: &'static TensorNames) -> Self {
        Self { names, linears: Vec::new(), tensors: Vec::new() }
    }

    /// Whether the model's head is its embedding.
    fn is_tied(&self) -> bool {
        self.tensors.iter().any(|tensor| tensor.name == self.names.head && tensor.tied)
    }
}

/// A LoRA adapter (Hu et al. 2021, arXiv 2106.09685) over the linear layers of one model, or tensors that stand in for
/// the model's own, or both. All of it trains.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// How the LoRA is made; none where only copies of the model's tensors train, as in freeze and full tuning.
    pub config: Option<LoraConfig>,
    /// Those of the model.
    names: &'static TensorNames,
    /// By id of the layer.
    modules: Vec<Option<Lora>>,
    /// By name.
    tensors: BTreeMap<String, Var>,
}

impl Adapter {
    /// A new LoRA adapter: `A` uniform in `±1/√in`, which is PEFT's `kaiming_uniform_(a=√5)`, and `B` zero, so that it
    /// changes nothing until it is trained. The same seed gives the same adapter. What else `config` may ask for (DoRA,
    /// PiSSA, `modules_to_save`) needs the model's weights: see [`VisionLanguageModel::lora`](crate::VisionLanguageModel::lora).
    ///
    /// # Errors
    /// A value of `config` is out of range, or its target names no layer that can be trained.
    pub fn new(config: LoraConfig, shape: &ModelShape, seed: u64) -> Result<Self> {
        config.check()?;
        let ModelShape { names, linears, .. } = shape;
        let targeted = config.target.resolve(shape, config.frozen)?;
        let mut modules = vec![None; linears.len()];
        for id in targeted {
            let LinearShape { ref name, rows, cols } = linears[id];
            let r = config.rank_of(name, names);
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(INITIALISATION + id as u64);
            let bound = 1.0 / (cols as f32).sqrt();
            let a = (0..r * cols).map(|_| bound * (2.0 * unit(&mut generator) - 1.0)).collect();
            modules[id] = Some(Lora {
                module: name.clone(),
                a: Var::from_vec(a, (r, cols), &Device::Cpu)?,
                b: Var::from_vec(vec![0f32; rows * r], (rows, r), &Device::Cpu)?,
                scaling: config.scaling_of(name, names),
                magnitude: None,
                initial: None,
            });
        }
        Ok(Self { config: Some(config), names, modules, tensors: BTreeMap::new() })
    }

    /// Tensors that stand in for the model's own of those names.
    pub(crate) fn of_tensors(tensors: BTreeMap<String, Var>, names: &'static TensorNames) -> Self {
        Self { config: None, names, modules: Vec::new(), tensors }
    }

    /// Reads a folder that PEFT or [`Adapter::save`] wrote: `adapter_config.json` and `adapter_model.safetensors`, or
    /// copies of the model's own tensors. The tensors may have the names that transformers gives them today
    /// (`base_model.model.model.language_model.layers…`) or those of its versions before 4.52
    /// (`base_model.model.model.layers…`, `base_model.model.visual…`), and the adapter's name (`.default`) may stand in
    /// them or not.
    ///
    /// # Errors
    /// A file is missing or malformed, asks for something other than LoRA, rsLoRA or DoRA, or does not fit the model: by
    /// file, key and tensor.
    pub fn load(folder: &Path, shape: &ModelShape) -> Result<Self> {
        match folder.join(copies::FILE).exists() {
            true => copies::load(folder, shape),
            false => peft::load(folder, shape),
        }
    }

    /// Writes a folder and returns the names of its files.
    ///
    /// Of a LoRA, the folder that [`Adapter::load`] and PEFT read; `base_model` is the model's folder or hub id. An adapter
    /// that began as PiSSA is written as the LoRA of twice the rank that does the same on the unchanged model; loaded here,
    /// it trains on as PiSSA.
    ///
    /// Of copies of the model's own tensors, these in f32, which [`Adapter::load`] reads; see
    /// [`crate::merge::Merge`] for a whole model.
    ///
    /// # Errors
    /// The folder cannot be made or written to. Files are written beside their place and renamed.
    pub fn save(&self, folder: &Path, shape: &ModelShape, base_model: &str) -> Result<&'static [&'static str]> {
        match &self.config {
            Some(config) => {
                peft::save(self, config.clone(), folder, shape, base_model)?;
                // Of an earlier training in the same folder, it would be read instead.
                remove(&folder.join(copies::FILE))?;
                Ok(&[peft::WEIGHTS, peft::CONFIG])
            }
            None => {
                copies::save(&self.tensors, folder)?;
                remove(&folder.join(peft::CONFIG))?;
                Ok(&[copies::FILE])
            }
        }
    }

    /// The same adapter with its tensors on `device`.
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn to_device(self, device: &Device) -> Result<Self> {
        if device.is_cpu() { Ok(self) } else { self.with_tensors(&|tensor| tensor.to_device(device)) }
    }

    /// A copy with tensors of its own.
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn duplicate(&self) -> Result<Self> {
        self.with_tensors(&Tensor::copy)
    }

    fn with_tensors(&self, of: &dyn Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let Self { config, names, modules, tensors } = self;
        let modules = modules.iter().map(|lora| lora.as_ref().map(|lora| lora.with_tensors(of)).transpose());
        let modules = modules.collect::<candle_core::Result<_>>()?;
        let var = |(name, var): (&String, &Var)| Ok((name.clone(), lora::var(var, of)?));
        let tensors = tensors.iter().map(var).collect::<candle_core::Result<_>>()?;
        Ok(Self { config: config.clone(), names, modules, tensors })
    }

    /// Takes over the numbers of another adapter that trains the same.
    ///
    /// # Errors
    /// It trains something else.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        let (own, others) = (self.vars(), other.vars());
        if !own.iter().map(|(name, _)| name).eq(others.iter().map(|(name, _)| name)) {
            return Err(AdapterError::Other.into());
        }
        for ((_, var), (_, other)) in own.iter().zip(&others) {
            var.set(other)?;
        }
        self.changed();
        Ok(())
    }

    /// What the adapter adds to the layer with this id.
    pub fn get(&self, linear: usize) -> Option<&Lora> {
        self.modules.get(linear)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, linear: usize) -> Option<&mut Lora> {
        self.modules.get_mut(linear)?.as_mut()
    }

    /// What stands in for the model's tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Var> {
        self.tensors.get(name)
    }

    /// The names of the model's tensors that copies stand in for.
    pub(crate) fn copies(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn put_tensor(&mut self, name: String, var: Var) {
        self.tensors.insert(name, var);
    }

    /// Every low-rank update, by the ids of the layers.
    pub fn loras(&self) -> impl Iterator<Item = &Lora> {
        self.modules.iter().flatten()
    }

    /// Changes `lora_alpha`, and with it the factors of `B A`.
    pub fn set_lora_alpha(&mut self, alpha: f64) {
        let Some(config) = &mut self.config else { return };
        config.lora_alpha = alpha;
        self.modules.iter_mut().flatten().for_each(|lora| lora.scaling = config.scaling_of(&lora.module, self.names));
    }

    /// Whether a head that is the embedding trains with it. PEFT leaves it as it was, unless it is told otherwise.
    pub fn ties_head(&self) -> bool {
        self.config.as_ref().is_none_or(|config| config.ensure_weight_tying)
    }

    /// What trains, with names as PEFT's files and transformers have them (`…q_proj.lora_A.weight`,
    /// `…norm.weight`): by id of the layer, `A` before `B`; then the model's own tensors.
    pub fn vars(&self) -> Vec<(String, Var)> {
        let loras = self.loras().flat_map(Lora::vars);
        let tensors = self.tensors.iter().map(|(name, var)| (name.clone(), var));
        loras.chain(tensors).map(|(name, var)| (name, var.clone())).collect()
    }

    /// Says that what trains has changed: DoRA's norms follow A and B.
    pub fn changed(&self) {
        self.loras().filter_map(|lora| lora.magnitude.as_ref()).for_each(Magnitude::forget_norms);
    }

    /// Whether it changes what the model makes of pictures, before the language model reads it.
    pub fn changes_pictures(&self) -> bool {
        let loras = self.loras().map(|lora| &lora.module);
        loras.chain(self.tensors.keys()).any(|name| self.names.part(name) != Part::LanguageModel)
    }

    /// How many layers have a low-rank update.
    pub fn module_count(&self) -> usize {
        self.loras().count()
    }

    /// How many numbers it trains.
    pub fn parameter_count(&self) -> usize {
        let loras = self.loras().flat_map(Lora::vars).map(|(_, var)| var.elem_count());
        loras.chain(self.tensors.values().map(|var| var.elem_count())).sum()
    }
}

/// Deletes a file, if it is there.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::Error::Write { path: path.to_path_buf(), source: error })
        }
        _ => Ok(()),
    }
}

/// A number in `[0, 1)` with 24 random bits, as many as an f32 holds.
fn unit(generator: &mut ChaCha8Rng) -> f32 {
    (generator.next_u32() >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests;
