//! Qwen2.5-VL: module and tensor names are the checkpoint's, so that code and weights read side by side.
//!
//! The vision tower has RMSNorm and SwiGLU, as the language model, and attends within windows of 8 × 8 patches; some
//! blocks attend over the whole picture.
//!
//! Source: `modeling_qwen2_5_vl.py` of transformers; Bai et al. 2025, arXiv 2502.13923.

pub mod config;

use super::Coordinates;
use super::Family;
use super::LlamaCpp;
use super::TensorNames;

pub static FAMILY: Family = Family {
    architecture: "Qwen2_5_VLForConditionalGeneration",
    model_type: "qwen2_5_vl",
    names: NAMES,
    template: "qwen2_vl",
    thinking_template: None,
    coordinates: Coordinates::ResizedPixels,
    llama_cpp: LlamaCpp { architecture: "qwen2vl", projector: "qwen2.5vl_merger", joined_qkv: false },
    config: |root| Ok(Box::new(config::parse(root)?)),
};

/// Published files have an older naming than transformers has in memory (`model.layers.0…`, `visual.blocks.0…`).
pub(super) const NAMES: TensorNames = TensorNames {
    vision_tower: "model.visual",
    projector: "model.visual.merger",
    language_model: "model.language_model",
    embedding: "model.language_model.embed_tokens.weight",
    head: "lm_head.weight",
    in_files: &[
        ("model.language_model.", "model.language_model."),
        ("model.visual.", "model.visual."),
        ("language_model.model.", "model.language_model."),
        ("visual.", "model.visual."),
        ("model.", "model.language_model."),
    ],
    published: &[("model.language_model.", "model."), ("model.visual.", "visual.")],
};
