//! The three parts of a vision-language model, each of which may be kept from training.

/// A part of the model, as LLaMA-Factory divides Qwen2.5-VL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `visual.patch_embed` and `visual.blocks`.
    VisionTower,
    /// `visual.merger`.
    MultiModalProjector,
    /// `language_model` and `lm_head`.
    LanguageModel,
}

impl Part {
    /// The part to which a tensor or a module belongs, by its name.
    pub fn of(name: &str) -> Self {
        if name.starts_with("model.visual.merger") {
            Self::MultiModalProjector
        } else if name.starts_with("model.visual") {
            Self::VisionTower
        } else {
            Self::LanguageModel
        }
    }
}

/// The parts that do not train, by the names and with the defaults of LLaMA-Factory's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrozenParts {
    pub freeze_vision_tower: bool,
    pub freeze_multi_modal_projector: bool,
    pub freeze_language_model: bool,
}

impl Default for FrozenParts {
    fn default() -> Self {
        Self { freeze_vision_tower: true, freeze_multi_modal_projector: true, freeze_language_model: false }
    }
}

impl FrozenParts {
    /// Whether what is called `name` is kept from training.
    pub fn includes(&self, name: &str) -> bool {
        match Part::of(name) {
            Part::VisionTower => self.freeze_vision_tower,
            Part::MultiModalProjector => self.freeze_multi_modal_projector,
            Part::LanguageModel => self.freeze_language_model,
        }
    }
}
