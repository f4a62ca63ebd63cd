//! A matmul that is to be computed, whatever computes it.

use crate::epilogue::Epilogue;
use crate::output::Output;
use crate::precision::Precision;
use crate::source::{Factor, Rows, Stored};

/// The sizes of a matmul. x: `[rows, depth]`, h: `[rows, rank]`, y: `[rows, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Dims {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) rank: usize,
}

/// `x w + h b` with some w and b, the latter major as w is.
pub(crate) struct Product<'a> {
    pub(crate) x: Factor<Rows<'a>>,
    pub(crate) h: Stored<'a, f32>,
    /// What h is to be computed by first, in its place; [`blocked`](crate::blocked) does.
    pub(crate) lora_down: Option<LoraDown<'a>>,
    pub(crate) dims: Dims,
    pub(crate) y: Output<'a>,
    pub(crate) epilogue: Epilogue<'a>,
    pub(crate) precision: Precision,
    /// Whether the global rayon pool may take a part.
    pub(crate) threads: bool,
}

/// The first matmul of a LoRA pair: `h = scaling · x a`, of as many rows as x, with a major as w is.
pub(crate) struct LoraDown<'a> {
    pub(crate) a: Stored<'a, f32>,
    pub(crate) scaling: f32,
    pub(crate) h: &'a mut [f32],
}
