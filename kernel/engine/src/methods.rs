//! From the settings to what trains: a LoRA adapter, or copies of the model's own weights.

use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::adapter::FreezeConfig;
use tunebook_nn::adapter::FrozenParts;
use tunebook_nn::adapter::InitLoraWeights;
use tunebook_nn::adapter::LoraConfig;
use tunebook_nn::adapter::TensorShape;

use crate::device;
use crate::error::Error;
use crate::error::Result;
use crate::memory::available_bytes;
use crate::settings::Settings;

pub(crate) fn lora_config(settings: &Settings) -> LoraConfig {
    LoraConfig {
        r: settings.lora_rank,
        lora_alpha: settings.lora_alpha.unwrap_or(2.0 * settings.lora_rank as f64),
        lora_dropout: settings.lora_dropout,
        use_rslora: settings.use_rslora,
        use_dora: settings.use_dora,
        init_lora_weights: match settings.pissa_init {
            false => InitLoraWeights::Random,
            true => InitLoraWeights::Pissa { niter: usize::try_from(settings.pissa_iter).ok() },
        },
        target: settings.lora_target.clone(),
        frozen: frozen(settings),
        modules_to_save: settings.additional_target.clone(),
        ..LoraConfig::default()
    }
}

/// Copies of some layers.
///
/// # Errors
/// A module that there is not, nothing is left to train, too little memory.
pub(crate) fn freeze(net: &VisionLanguageModel, settings: &Settings) -> Result<Adapter> {
    let config = FreezeConfig {
        freeze_trainable_layers: settings.freeze_trainable_layers,
        freeze_trainable_modules: settings.freeze_trainable_modules.clone(),
        freeze_extra_modules: settings.freeze_extra_modules.clone(),
    };
    copies(net, &net.frozen_but(&config, frozen(settings))?)
}

/// Copies of all that is not frozen.
///
/// # Errors
/// Nothing is left to train, too little memory.
pub(crate) fn full(net: &VisionLanguageModel, settings: &Settings) -> Result<Adapter> {
    copies(net, &net.all_but(frozen(settings))?)
}

fn copies(net: &VisionLanguageModel, tensors: &[&TensorShape]) -> Result<Adapter> {
    let parameters: usize = tensors.iter().map(|tensor| tensor.dims.iter().product::<usize>()).sum();
    let (each, free) = match device::free_bytes(&net.device) {
        // A copy and its gradient, in f32; the optimizer's two moments are in CPU memory.
        Some(free) => (2, Some(free)),
        None => (4, available_bytes()),
    };
    let needed = (each * parameters * size_of::<f32>()) as u64;
    if let Some(free) = free.filter(|free| *free < needed) {
        let [needed, free] = [needed, free].map(|bytes| bytes as f64 / 1e9);
        return Err(Error::CopiesMemory { parameters, needed, free });
    }
    Ok(net.copies(tensors)?)
}

fn frozen(settings: &Settings) -> FrozenParts {
    FrozenParts {
        freeze_vision_tower: settings.freeze_vision_tower,
        freeze_multi_modal_projector: settings.freeze_multi_modal_projector,
        freeze_language_model: settings.freeze_language_model,
    }
}
