//! The three parts of a vision-language model, each of which may be kept from training.

/// A part of a model, as LLaMA-Factory divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Pictures to features.
    VisionTower,
    /// Features of the tower to tokens of the language model.
    MultiModalProjector,
    /// The language model with its head.
    LanguageModel,
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
    /// Whether a part is kept from training.
    pub fn includes(&self, part: Part) -> bool {
        match part {
            Part::VisionTower => self.freeze_vision_tower,
            Part::MultiModalProjector => self.freeze_multi_modal_projector,
            Part::LanguageModel => self.freeze_language_model,
        }
    }
}
