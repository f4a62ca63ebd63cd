//! Qwen2-VL: the language model of Qwen2.5-VL behind a tower with LayerNorm and a two-layer perceptron, all of whose blocks
//! attend over the whole picture.
//!
//! Source: `modeling_qwen2_vl.py` of transformers; Wang et al. 2024, arXiv 2409.12191.

pub mod config;

use super::Coordinates;
use super::Family;
use super::LlamaCpp;
use super::qwen2_5_vl;

/// Names are those of Qwen2.5-VL, in files and in memory.
pub static FAMILY: Family = Family {
    architecture: "Qwen2VLForConditionalGeneration",
    model_type: "qwen2_vl",
    names: qwen2_5_vl::NAMES,
    template: "qwen2_vl",
    thinking_template: None,
    coordinates: Coordinates::Thousandths,
    llama_cpp: LlamaCpp { architecture: "qwen2vl", projector: "qwen2vl_merger", joined_qkv: false },
    config: |root| Ok(Box::new(config::parse(root)?)),
};
