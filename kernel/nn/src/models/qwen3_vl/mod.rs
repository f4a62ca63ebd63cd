//! Qwen3-VL: a tower with learned positions whose features reach the language model's first layers, too (DeepStack), and a
//! language model that norms queries and keys.
//!
//! Source: `modeling_qwen3_vl.py` of transformers; Bai et al. 2025, arXiv 2511.21631; DeepStack: Meng et al. 2024, arXiv
//! 2406.04334.

pub mod config;

use super::Coordinates;
use super::Family;
use super::LlamaCpp;
use super::TensorNames;

/// Names in files are those in memory.
pub static FAMILY: Family = Family {
    architecture: "Qwen3VLForConditionalGeneration",
    model_type: "qwen3_vl",
    names: TensorNames {
        vision_tower: "model.visual",
        projector: "model.visual.merger",
        language_model: "model.language_model",
        embedding: "model.language_model.embed_tokens.weight",
        head: "lm_head.weight",
        in_files: &[],
        published: &[],
    },
    template: "qwen3_vl_nothink",
    thinking_template: Some("qwen3_vl"),
    coordinates: Coordinates::Thousandths,
    llama_cpp: LlamaCpp { architecture: "qwen3vl", projector: "qwen3vl_merger", joined_qkv: true },
    config: |root| Ok(Box::new(config::parse(root)?)),
};
