//! What a vision transformer is made of.

use crate::ops::Activation;

/// Sizes and parts of a vision tower with its projector.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    pub depth: usize,
    pub hidden_size: usize,
    pub num_heads: usize,
    pub intermediate_size: usize,
    /// The language model's width.
    pub out_hidden_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames of a patch.
    pub temporal_patch_size: usize,
    /// Side of a token in patches.
    pub spatial_merge_size: usize,
    pub in_channels: usize,
    pub norm: NormKind,
    pub feed_forward: FeedForwardKind,
    /// None where every block attends over the whole picture.
    pub windows: Option<WindowAttention>,
    /// Whether the patch embedding has a bias.
    pub patch_bias: bool,
    /// Side of the square of learned positions, which is stretched over each picture; none where there are only rotations.
    pub position_side: Option<usize>,
    pub merger: MergerNames,
    /// DeepStack: the blocks whose outputs, too, become features, one for each of the language model's first layers.
    pub deepstack_blocks: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    Rms,
    Layer,
}

/// The perceptron of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForwardKind {
    /// down(silu(gate(x)) · up(x)).
    SwiGlu,
    /// second(f(first(x))); `names` are those of the two layers.
    TwoLayers { names: [&'static str; 2], activation: Activation },
}

/// Attention within squares of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowAttention {
    /// Side of a window in tokens.
    pub side: usize,
    /// The blocks that attend over the whole picture all the same.
    pub full_blocks: Vec<usize>,
}

/// What a family calls the parts of a merger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergerNames {
    pub norm: &'static str,
    pub first: &'static str,
    pub second: &'static str,
}

impl VisionConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Values in one patch: channels × temporal × side².
    pub fn patch_values(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Patches of a token.
    pub fn patches_of_token(&self) -> usize {
        self.spatial_merge_size * self.spatial_merge_size
    }

    /// Columns of the features: those of the projector, and after them those of each DeepStack block.
    pub fn feature_width(&self) -> usize {
        self.out_hidden_size * (1 + self.deepstack_blocks.len())
    }
}
