//! What is to be computed, whatever computes it.

use crate::Precision;
use crate::output::{Ending, Output};
use crate::source::{Factor, Stored};

/// The sizes of a product. x: `[rows, depth]`, h: `[rows, rank]`, y: `[rows, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Dims {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) rank: usize,
}

/// `x w + h b` with some w and b, the latter contracted as w is.
pub(crate) struct Product<'a> {
    pub(crate) x: Factor<Stored<'a, f32>>,
    pub(crate) h: Stored<'a, f32>,
    /// What h is to be made by first, in its place; [`blocked`](crate::blocked) does.
    pub(crate) make_h: Option<MakeH<'a>>,
    pub(crate) dims: Dims,
    pub(crate) y: Output<'a>,
    pub(crate) ending: Ending<'a>,
    pub(crate) precision: Precision,
    /// Whether the global rayon pool may take a part.
    pub(crate) threads: bool,
}

/// Makes h, of as many rows as x: `h = scale · x down`, with `down` contracted as w is.
pub(crate) struct MakeH<'a> {
    pub(crate) down: Stored<'a, f32>,
    pub(crate) scale: f32,
    pub(crate) h: &'a mut [f32],
}
