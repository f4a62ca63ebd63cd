//! What can be trained on top of the model, made from its weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use candle_core::Var;

use crate::adapter::Adapter;
use crate::adapter::AdapterError;
use crate::adapter::Combination;
use crate::adapter::FreezeConfig;
use crate::adapter::FrozenParts;
use crate::adapter::InitLoraWeights;
use crate::adapter::LoraConfig;
use crate::adapter::Magnitude;
use crate::adapter::NeedsFullWeights;
use crate::adapter::Source;
use crate::adapter::TensorShape;
use crate::adapter::trainable;
use crate::error::Result;
use crate::ops::dora_norms;
use crate::svd::principal;

use super::VisionLanguageModel;

impl VisionLanguageModel {
    /// A new LoRA adapter; see [`Adapter::new`]. It changes nothing until it is trained:
    ///
    /// - DoRA's magnitudes are the lengths of the weights' rows.
    /// - PiSSA's A = √S Vᵀ and B = U √S, with the largest singular values S · scaling and their vectors; what B A adds to
    ///   the weight at first is subtracted from it.
    /// - `modules_to_save` are copied.
    ///
    /// # Errors
    /// As [`Adapter::new`]; a module that there is not; PiSSA on a quantized model;
    /// [`Error::Cancelled`](crate::Error::Cancelled) if `stop`, which is asked while PiSSA takes its time, says so.
    pub fn lora(&self, config: LoraConfig, seed: u64, stop: &dyn Fn() -> bool) -> Result<Adapter> {
        let mut adapter = Adapter::new(config.clone(), &self.shape, seed)?;
        for (id, weight) in self.weights().enumerate() {
            let Some(lora) = adapter.get_mut(id) else { continue };
            let (scaling, r) = (lora.scaling as f32, lora.a.dims()[0]);
            if config.use_dora {
                let lengths = dora_norms(weight, &lora.a, &lora.b, scaling)?;
                lora.magnitude = Some(Magnitude::new(Var::from_tensor(&lengths)?));
            }
            if let InitLoraWeights::Pissa { niter } = config.init_lora_weights {
                if self.quantized.is_some() {
                    return Err(AdapterError::Quantized { what: NeedsFullWeights::Pissa }.into());
                }
                let (a, b) = principal(weight, r, niter, seed, stop)?;
                let root = f64::from(scaling).sqrt();
                let [a, b] = [(a / root)?, (b / root)?];
                lora.a.set(&a)?;
                lora.b.set(&b)?;
                lora.initial = Some([a, b]);
            }
        }
        for tensor in trainable::modules_to_save(&self.shape.tensors, &config.modules_to_save)? {
            adapter.put_tensor(tensor.name.clone(), self.copy(tensor)?);
        }
        adapter.to_device(&self.device)
    }

    /// A new adapter out of others of this model; see [`Adapter::blend`].
    ///
    /// # Errors
    /// As [`Adapter::blend`].
    pub fn blend(
        &self,
        sources: &[Source],
        combination: Combination,
        seed: u64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Adapter> {
        Adapter::blend(sources, combination, &self.shape, seed, stop)?.to_device(&self.device)
    }

    /// Reads a LoRA folder, see [`Adapter::load`], or one of copies of the model's own tensors.
    ///
    /// # Errors
    /// As [`Adapter::load`]; copies for a quantized model.
    pub fn load_adapter(&self, folder: &Path) -> Result<Adapter> {
        let adapter = Adapter::load(folder, &self.shape)?;
        if adapter.config.is_none() && self.quantized.is_some() {
            return Err(AdapterError::Quantized { what: NeedsFullWeights::OwnWeights }.into());
        }
        adapter.to_device(&self.device)
    }

    /// What trains in freeze tuning: by its name, with its number of elements.
    ///
    /// # Errors
    /// A module that there is not; nothing is left to train.
    pub fn frozen_but(&self, config: &FreezeConfig, frozen: FrozenParts) -> Result<Vec<&TensorShape>> {
        config.resolve(&self.shape, self.text.layers.len(), frozen)
    }

    /// What trains in full tuning.
    ///
    /// # Errors
    /// Nothing is left to train.
    pub fn all_but(&self, frozen: FrozenParts) -> Result<Vec<&TensorShape>> {
        trainable::full(&self.shape, frozen)
    }

    /// Copies of the model's own `tensors`, in f32, to be trained in their place.
    ///
    /// # Errors
    /// The model is quantized.
    pub fn copies(&self, tensors: &[&TensorShape]) -> Result<Adapter> {
        if self.quantized.is_some() {
            return Err(AdapterError::Quantized { what: NeedsFullWeights::OwnWeights }.into());
        }
        let mut copies = BTreeMap::new();
        for tensor in tensors {
            copies.insert(tensor.name.clone(), self.copy(tensor)?);
        }
        Adapter::of_tensors(copies, self.shape.names).to_device(&self.device)
    }

    fn copy(&self, tensor: &TensorShape) -> Result<Var> {
        // A tied head is stored as the embedding.
        let name = if tensor.tied { self.shape.names.embedding } else { &tensor.name };
        Ok(Var::from_vec(self.checkpoint.values(name)?, tensor.dims.as_slice(), &Device::Cpu)?)
    }
}
