//! LoRA adapters: the small trainable matrices that are added to frozen linear layers, and the PEFT folders in
//! which they are kept.

mod config;
pub mod error;
mod peft;
mod target;

use std::path::Path;

use candle_core::Device;
use candle_core::Var;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;

use crate::error::Result;

pub use config::LoraConfig;
pub use error::AdapterError;
pub use target::LoraTarget;

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

/// What an adapter adds to one linear layer: `scaling · B A` to its weight `[out, in]`.
#[derive(Clone, Debug)]
pub struct Lora {
    /// The layer's name.
    pub module: String,
    /// `[r, in]`, f32.
    pub a: Var,
    /// `[out, r]`, f32.
    pub b: Var,
}

/// One of the two matrices of a layer.
#[derive(Clone, Copy)]
enum Half {
    A,
    B,
}

impl Half {
    /// The tensor's name behind that of its layer.
    fn suffix(self) -> &'static str {
        match self {
            Half::A => ".lora_A.weight",
            Half::B => ".lora_B.weight",
        }
    }
}

impl Lora {
    fn name(&self, half: Half) -> String {
        format!("{}{}", self.module, half.suffix())
    }
}

/// A LoRA adapter (Hu et al. 2021, arXiv 2106.09685) over the linear layers of one model.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub config: LoraConfig,
    /// By id of the layer.
    modules: Vec<Option<Lora>>,
}

impl Adapter {
    /// A new adapter: `A` uniform in `±1/√in`, which is PEFT's `kaiming_uniform_(a=√5)`, and `B` zero, so that it
    /// changes nothing until it is trained. The same seed gives the same adapter.
    ///
    /// # Errors
    /// A value of `config` is out of range, or its target names no layer that can be trained.
    pub fn new(config: LoraConfig, linears: &[LinearShape], seed: u64) -> Result<Self> {
        config.check()?;
        let targeted = config.target.resolve(linears)?;
        let mut modules = vec![None; linears.len()];
        for id in targeted {
            let LinearShape { ref name, rows, cols } = linears[id];
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(INITIALISATION + id as u64);
            let bound = 1.0 / (cols as f32).sqrt();
            let a = (0..config.r * cols).map(|_| bound * (2.0 * unit(&mut generator) - 1.0)).collect();
            modules[id] = Some(Lora {
                module: name.clone(),
                a: Var::from_vec(a, (config.r, cols), &Device::Cpu)?,
                b: Var::from_vec(vec![0f32; rows * config.r], (rows, config.r), &Device::Cpu)?,
            });
        }
        Ok(Self { config, modules })
    }

    /// Reads a folder that PEFT or [`Adapter::save`] wrote: `adapter_config.json` and `adapter_model.safetensors`.
    /// The tensors may have today's names (`base_model.model.model.language_model.layers…`) or those of
    /// transformers before 4.52 (`base_model.model.model.layers…`, `base_model.model.visual…`), and the adapter's
    /// name (`.default`) may stand in them or not.
    ///
    /// # Errors
    /// A file is missing or malformed, asks for something other than plain LoRA, or does not fit the model: by
    /// file, key and tensor.
    pub fn load(folder: &Path, linears: &[LinearShape]) -> Result<Self> {
        peft::load(folder, linears)
    }

    /// Writes the folder that [`Adapter::load`] and PEFT read; `base_model` is the model's folder or hub id. Files
    /// are written beside their place and renamed.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn save(&self, folder: &Path, linears: &[LinearShape], base_model: &str) -> Result<()> {
        peft::save(self, folder, linears, base_model)
    }

    /// What the adapter adds to the layer with this id.
    pub fn get(&self, linear: usize) -> Option<&Lora> {
        self.modules.get(linear)?.as_ref()
    }

    /// `lora_alpha / r`, the factor of `B A`.
    pub fn scaling(&self) -> f64 {
        self.config.lora_alpha / self.config.r as f64
    }

    /// The trainable tensors with their names (`…q_proj.lora_A.weight`): by id of the layer, `A` before `B`.
    pub fn vars(&self) -> Vec<(String, Var)> {
        let both = |lora: &Lora| [(lora.name(Half::A), lora.a.clone()), (lora.name(Half::B), lora.b.clone())];
        self.modules.iter().flatten().flat_map(both).collect()
    }

    /// How many layers it changes.
    pub fn module_count(&self) -> usize {
        self.modules.iter().flatten().count()
    }

    /// How many numbers it trains.
    pub fn parameter_count(&self) -> usize {
        self.modules.iter().flatten().map(|lora| lora.a.elem_count() + lora.b.elem_count()).sum()
    }
}

/// A number in `[0, 1)` with 24 random bits, as many as an f32 holds.
fn unit(generator: &mut ChaCha8Rng) -> f32 {
    (generator.next_u32() >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests;
