//! The vision tower with its projector: llama.cpp's `mmproj` file.

use tunebook_gguf::Metadata;
use tunebook_gguf::TensorInfo;
use tunebook_gguf::TensorType;
use tunebook_gguf::Value;

use super::Cut;
use super::FileType;
use super::GgufFile;
use super::LlamaCppError;
use super::Piece;
use super::Source;
use super::Values;
use super::size_label;
use super::whole;
use crate::adapter::Part;
use crate::checkpoint::StoredTensor;
use crate::error::Error;
use crate::error::Result;
use crate::layers::vision::EPS;
use crate::layers::vision::FeedForwardKind;
use crate::layers::vision::VisionConfig;
use crate::merge::Merge;
use crate::models::LlamaCpp;
use crate::ops::Activation;

/// Pixels of a side of an attention window; llama.cpp knows no other.
const WINDOW: usize = 112;
/// Patches of a side of a token; the same.
const MERGE: usize = 2;
/// What llama.cpp's converter writes where config.json has no size of pictures. It is used nowhere.
const IMAGE_SIZE: usize = 560;

/// What modules of a block, and of a merger, are called here and there.
const BLOCK: [(&str, &str); 11] = [
    ("norm1", "ln1"),
    ("norm2", "ln2"),
    ("attn.qkv", "attn_qkv"),
    ("attn.proj", "attn_out"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.fc1", "ffn_up"),
    ("mlp.fc2", "ffn_down"),
    ("mlp.linear_fc1", "ffn_up"),
    ("mlp.linear_fc2", "ffn_down"),
];
const MERGER: [(&str, &str); 6] = [
    ("ln_q", "v.post_ln"),
    ("norm", "v.post_ln"),
    ("mlp.0", "mm.0"),
    ("linear_fc1", "mm.0"),
    ("mlp.2", "mm.2"),
    ("linear_fc2", "mm.2"),
];
const DEEPSTACK: [(&str, &str); 3] = [("norm", "norm"), ("linear_fc1", "fc1"), ("linear_fc2", "fc2")];

/// The vision tower and the projector with their metadata, to which `general` and `pictures` (how pixels become numbers)
/// are added.
///
/// # Errors
/// llama.cpp cannot run it.
pub fn vision_tower<'a>(
    merge: &'a Merge<'a>,
    file_type: FileType,
    general: Metadata,
    pictures: Metadata,
) -> Result<GgufFile<'a>> {
    let (family, config) = (merge.net.family, merge.net.config.vision());
    let pattern = window_pattern(config).map_err(Error::LlamaCpp)?;
    let sources: Vec<Source> = merge
        .tensors()
        .into_iter()
        .filter(|tensor| family.names.part(tensor.canonical) != Part::LanguageModel)
        .filter_map(|tensor| {
            let within = family.names.within_tower(tensor.canonical);
            let pieces = pieces(within, &tensor, config, family.llama_cpp, file_type)?;
            Some(Source { values: Values::Merged(tensor), pieces })
        })
        .collect();
    let mut rest = vec![file_type.metadata()];
    rest.extend(metadata(config, family.llama_cpp, pattern));
    rest.extend(pictures);
    let general = general.into_iter().chain([size_label(&sources)]).collect();
    Ok(GgufFile::new(merge, ("clip", "mmproj"), general, rest, sources))
}

/// Every how many blocks one attends over the whole picture; 0 where all do.
///
/// # Errors
/// The tower has a shape that llama.cpp does not know.
fn window_pattern(config: &VisionConfig) -> std::result::Result<usize, LlamaCppError> {
    let check = |key, needed: usize, found: usize| match needed == found {
        true => Ok(()),
        false => Err(LlamaCppError::Vision { key, needed: needed.to_string(), found: found.to_string() }),
    };
    check("temporal_patch_size", 2, config.temporal_patch_size)?;
    check("spatial_merge_size", MERGE, config.spatial_merge_size)?;
    check("in_channels", 3, config.in_channels)?;
    let Some(windows) = &config.windows else { return Ok(0) };
    let token = config.patch_size * MERGE;
    if windows.side != WINDOW / token {
        check("window_size", WINDOW, windows.side * token)?;
    }
    let pattern = windows.full_blocks.first().map_or(config.depth + 1, |first| first + 1);
    let regular: Vec<usize> = (pattern - 1..config.depth).step_by(pattern).collect();
    match regular == windows.full_blocks {
        true => Ok(pattern),
        false => Err(LlamaCppError::Vision {
            key: "fullatt_block_indexes",
            needed: format!("{regular:?}"),
            found: format!("{:?}", windows.full_blocks),
        }),
    }
}

/// What becomes of a tensor, by its name within the tower.
fn pieces(
    within: &str,
    tensor: &StoredTensor,
    config: &VisionConfig,
    llama_cpp: LlamaCpp,
    file_type: FileType,
) -> Option<Vec<Piece>> {
    let kind = match tensor.shape {
        [_, cols] => file_type.of_matrix(*cols),
        _ => TensorType::F32,
    };
    let one = |name: String, kind| Some(vec![whole(name, tensor.shape, kind)]);
    let (module, part) = within.rsplit_once('.')?;
    let find = |names: &[(&str, &'static str)], module: &str| {
        names.iter().find(|(known, _)| *known == module).map(|(_, name)| *name)
    };
    match (module, part) {
        ("patch_embed.proj", "weight") => return Some(frames(tensor, file_type)),
        ("patch_embed.proj", _) => return one(format!("v.patch_embd.{part}"), kind),
        ("pos_embed", _) => return one(format!("v.position_embd.{part}"), TensorType::F32),
        _ => {}
    }
    if let Some(module) = module.strip_prefix("merger.") {
        return one(format!("{}.{part}", find(&MERGER, module)?), kind);
    }
    let (list, rest) = module.split_once('.')?;
    let (index, module) = rest.split_once('.')?;
    match list {
        "deepstack_merger_list" => {
            let block = config.deepstack_blocks.get(index.parse::<usize>().ok()?)?;
            one(format!("v.deepstack.{block}.{}.{part}", find(&DEEPSTACK, module)?), kind)
        }
        "blocks" if module == "attn.qkv" && !llama_cpp.joined_qkv => {
            let dims: Vec<usize> =
                tensor.shape.iter().enumerate().map(|(axis, size)| if axis == 0 { size / 3 } else { *size }).collect();
            let third = |(cut, name)| Piece {
                info: TensorInfo { name: format!("v.blk.{index}.attn_{name}.{part}"), dims: dims.clone(), kind },
                cut: Cut::Third(cut),
            };
            Some(["q", "k", "v"].into_iter().enumerate().map(third).collect())
        }
        "blocks" => one(format!("v.blk.{index}.{}.{part}", find(&BLOCK, module)?), kind),
        _ => None,
    }
}

/// The kernel over two frames as two, which llama.cpp convolves by themselves.
fn frames(tensor: &StoredTensor, file_type: FileType) -> Vec<Piece> {
    let kind = match file_type {
        FileType::F16 => TensorType::F16,
        _ => TensorType::F32,
    };
    let [out, channels, _, height, width] = tensor.shape else { return Vec::new() };
    let dims = vec![*out, *channels, *height, *width];
    let frame = |(index, name): (usize, &str)| Piece {
        info: TensorInfo { name: name.to_string(), dims: dims.clone(), kind },
        cut: Cut::Frame(index),
    };
    ["v.patch_embd.weight", "v.patch_embd.weight.1"].into_iter().enumerate().map(frame).collect()
}

fn metadata(config: &VisionConfig, llama_cpp: LlamaCpp, pattern: usize) -> Metadata {
    let number = |value: usize| Value::U32(value as u32);
    let image_size = config.position_side.map_or(IMAGE_SIZE, |side| side * config.patch_size);
    let mut keys = vec![
        ("clip.has_vision_encoder", Value::Bool(true)),
        ("clip.projector_type", llama_cpp.projector.into()),
        ("clip.vision.projection_dim", number(config.out_hidden_size)),
        ("clip.vision.image_size", number(image_size)),
        ("clip.vision.patch_size", number(config.patch_size)),
        ("clip.vision.spatial_merge_size", number(config.spatial_merge_size)),
        ("clip.vision.embedding_length", number(config.hidden_size)),
        ("clip.vision.feed_forward_length", number(config.intermediate_size)),
        ("clip.vision.block_count", number(config.depth)),
        ("clip.vision.attention.head_count", number(config.num_heads)),
        ("clip.vision.attention.layer_norm_epsilon", Value::F32(EPS)),
    ];
    match config.feed_forward {
        FeedForwardKind::SwiGlu => keys.push(("clip.use_silu", Value::Bool(true))),
        FeedForwardKind::TwoLayers { activation: Activation::GeluTanh, .. } => {
            keys.push(("clip.use_gelu", Value::Bool(true)));
        }
        // Without either, llama.cpp takes QuickGELU.
        FeedForwardKind::TwoLayers { .. } => {}
    }
    if pattern > 0 {
        keys.push(("clip.vision.n_wa_pattern", number(pattern)));
    }
    if !config.deepstack_blocks.is_empty() {
        let has = |block| config.deepstack_blocks.contains(&block);
        keys.push(("clip.vision.is_deepstack_layers", Value::Bools((0..config.depth).map(has).collect())));
    }
    keys.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}
