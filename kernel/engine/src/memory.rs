//! How much of a training step may stay in memory.

use tunebook_nn::frozen::FrozenDType;
use tunebook_nn::qwen2_5_vl::Qwen2_5Vl;

/// How many of the last layers may keep their inner values from the forward to the backward pass, instead of making
/// them again: as many as fit in half of the memory that is free beside the model's weights. Making all of
/// them again costs up to a third of the step. 0 where the system does not tell its free memory.
pub fn kept_layers(net: &Qwen2_5Vl, tokens: usize) -> usize {
    let Some(available) = available_bytes() else { return 0 };
    let element = match net.stored_dtype {
        FrozenDType::F32 => 4,
        FrozenDType::Bf16 => 2,
    };
    let free = available.saturating_sub((net.parameters * element) as u64);
    (free / 2 / layer_bytes(net, tokens).max(1)) as usize
}

/// What one decoder layer keeps: its input and its [`tunebook_nn::qwen2_5_vl::text::Inner`].
fn layer_bytes(net: &Qwen2_5Vl, tokens: usize) -> u64 {
    let text = &net.config.text;
    let kv = text.num_key_value_heads * text.head_dim();
    let values = tokens * (4 * text.hidden_size + 2 * kv + 2 * text.intermediate_size);
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
