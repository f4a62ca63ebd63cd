//! What is to be computed, whatever computes it.

use crate::output::{Ending, Output};
use crate::source::{Contract, Factor, Rows, Stored};
use crate::{Activations, Precision, Results};

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
    pub(crate) x: Factor<Rows<'a>>,
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

impl<'a> Product<'a> {
    /// A product of contiguous rows of x, `+ bias`, without a low-rank part yet.
    pub(crate) fn of_rows(
        x: Activations<'a>,
        y: Results<'a>,
        bias: Option<&'a [f32]>,
        dims: Dims,
        precision: Precision,
    ) -> Self {
        Product {
            x: Factor { source: Rows::new(x, dims.depth), contract: Contract::RowElements },
            h: Stored::default(),
            make_h: None,
            dims,
            y: Output::of_results(y, dims.rows, dims.width),
            ending: Ending { scale: 1.0, bias, accumulate: false },
            precision,
            threads: true,
        }
    }
}

/// Makes h, of as many rows as x: `h = scale · x down`, with `down` contracted as w is.
pub(crate) struct MakeH<'a> {
    pub(crate) down: Stored<'a, f32>,
    pub(crate) scale: f32,
    pub(crate) h: &'a mut [f32],
}
