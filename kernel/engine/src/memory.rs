//! How much of a training step may stay in memory.

use tunebook_nn::frozen::FrozenDType;
use tunebook_nn::qwen2_5_vl::Qwen2_5Vl;

/// How many of the last layers may keep their graph from the forward to the backward pass, instead of being
/// rebuilt: as many as fit in half of the memory that is free beside the model's weights. Rebuilding all of them
/// costs a third of the step. 0 where the system does not tell its free memory.
pub fn kept_layers(net: &Qwen2_5Vl, tokens: usize) -> usize {
    let Some(available) = available_bytes() else { return 0 };
    let element = match net.stored_dtype {
        FrozenDType::F32 => 4,
        FrozenDType::Bf16 => 2,
    };
    let free = available.saturating_sub((net.parameters * element) as u64);
    (free / 2 / layer_bytes(net, tokens).max(1)) as usize
}

/// What the graph of one decoder layer holds: about eight tensors of the hidden size, two each of queries, keys and
/// values, and three of the feed-forward size.
fn layer_bytes(net: &Qwen2_5Vl, tokens: usize) -> u64 {
    let text = &net.config.text;
    let kv = text.num_key_value_heads * text.head_dim();
    let values = tokens * (8 * text.hidden_size + 4 * kv + 3 * text.intermediate_size);
    (values * size_of::<f32>()) as u64
}

/// Memory that can be had without swapping.
fn available_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// A line such as `VmRSS:  1234 kB` of a file of Linux's, in bytes.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
