//! The language model.

use tunebook_gguf::Metadata;
use tunebook_gguf::Value;

use super::FileType;
use super::GgufFile;
use super::LlamaCppError;
use super::Source;
use super::Values;
use super::file_type::Role;
use super::size_label;
use super::whole;
use crate::adapter::Part;
use crate::error::Error;
use crate::error::Result;
use crate::layers::TextConfig;
use crate::merge::Merge;
use crate::models::TensorNames;

/// What modules of a layer are called here and there.
const MODULES: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", VALUES),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", DOWN),
];
const VALUES: &str = "attn_v";
const DOWN: &str = "ffn_down";
const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";

/// The language model with its metadata, to which `general` (its name and the like) and `tokenizer` are added.
///
/// # Errors
/// llama.cpp cannot run it.
pub fn text_model<'a>(
    merge: &'a Merge<'a>,
    file_type: FileType,
    general: Metadata,
    tokenizer: Metadata,
) -> Result<GgufFile<'a>> {
    let (family, config) = (merge.net.family, &merge.net.text.config);
    if config.o_bias {
        return Err(Error::LlamaCpp(LlamaCppError::AttentionBias));
    }
    let layers = config.num_hidden_layers;
    let named = merge.tensors().into_iter().filter_map(|tensor| Some((name(tensor.canonical, &family.names)?, tensor)));
    let sources: Vec<Source> = named
        .map(|(name, tensor)| {
            let kind = file_type.of_text(tensor.shape, role(&name, layers, merge.is_tied()));
            let pieces = vec![whole(name, tensor.shape, kind)];
            Source { values: Values::Merged(tensor), pieces }
        })
        .collect();
    let architecture = family.llama_cpp.architecture;
    let mut rest = metadata(architecture, config);
    rest.push(file_type.metadata());
    let deepstack = merge.net.config.vision().deepstack_blocks.len();
    if deepstack > 0 {
        rest.push((format!("{architecture}.n_deepstack_layers"), Value::U32(deepstack as u32)));
    }
    rest.extend(tokenizer);
    let general = general.into_iter().chain([size_label(&sources)]).collect();
    Ok(GgufFile::new(merge, (architecture, "model"), general, rest, sources))
}

/// The name of a tensor of the language model, by its name in memory.
pub(super) fn name(canonical: &str, names: &TensorNames) -> Option<String> {
    if canonical == names.embedding {
        return Some(EMBEDDING.to_string());
    }
    if canonical == names.head {
        return Some(OUTPUT.to_string());
    }
    if names.part(canonical) != Part::LanguageModel {
        return None;
    }
    match names.within_tower(canonical) {
        "norm.weight" => Some("output_norm.weight".to_string()),
        within => {
            let (layer, rest) = within.strip_prefix("layers.")?.split_once('.')?;
            let (module, kind) = rest.rsplit_once('.')?;
            let (_, name) = MODULES.iter().find(|(known, _)| *known == module)?;
            Some(format!("blk.{layer}.{name}.{kind}"))
        }
    }
}

fn role(name: &str, layers: usize, is_tied: bool) -> Role {
    if name == OUTPUT || is_tied && name == EMBEDDING {
        return Role::Output;
    }
    let mut parts = name.split('.').skip(1);
    match (parts.next().and_then(|layer| layer.parse().ok()), parts.next()) {
        (Some(layer), Some(VALUES | DOWN)) => Role::Sensitive { layer, layers },
        _ => Role::Other,
    }
}

fn metadata(architecture: &str, config: &TextConfig) -> Metadata {
    let [time, height, width] = config.mrope_section.map(|size| size as i32);
    let number = |value: usize| Value::U32(value as u32);
    let keys = [
        ("block_count", number(config.num_hidden_layers)),
        ("context_length", number(config.max_position_embeddings)),
        ("embedding_length", number(config.hidden_size)),
        ("feed_forward_length", number(config.intermediate_size)),
        ("attention.head_count", number(config.num_attention_heads)),
        ("attention.head_count_kv", number(config.num_key_value_heads)),
        ("attention.key_length", number(config.head_dim)),
        ("attention.value_length", number(config.head_dim)),
        ("rope.dimension_sections", Value::I32s(vec![time, height, width, 0])),
        ("rope.freq_base", Value::F32(config.rope_theta as f32)),
        ("attention.layer_norm_rms_epsilon", Value::F32(config.rms_norm_eps as f32)),
    ];
    keys.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)).collect()
}
