//! Weights that kernels read through a staging buffer: a run of them is decoded as it is packed, so that a whole
//! decoded matrix never exists.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;
use half::bf16;

use crate::source::Source;

/// What weights are decoded to.
pub(crate) trait Decoded: Pod + Send + Sync {
    /// To nearest, ties to even.
    fn rounded(value: f32) -> Self;
}

impl Decoded for f32 {
    #[inline(always)]
    fn rounded(value: f32) -> Self {
        value
    }
}

impl Decoded for bf16 {
    #[inline(always)]
    fn rounded(value: f32) -> Self {
        bf16::from_f32(value)
    }
}

/// Weights of which a run is read as elements of type `E`.
pub(crate) trait Decode<E>: Copy + Send + Sync {
    /// Reads neighbours in a row of a matrix with rows of `cols` elements.
    fn decode_run(self, cols: usize, row: usize, columns: Range<usize>, out: &mut [E]);
}

/// A matrix whose elements are decoded to type `E` as they are read.
#[derive(Clone, Copy)]
pub(crate) struct Decoding<W, E> {
    w: W,
    cols: usize,
    elements: PhantomData<E>,
}

impl<W, E> Decoding<W, E> {
    /// The matrix with rows of `cols` elements.
    pub(crate) fn new(w: W, cols: usize) -> Self {
        Self { w, cols, elements: PhantomData }
    }
}

impl<W: Decode<E>, E: Decoded> Source for Decoding<W, E> {
    type Elem = E;
    const STAGED: bool = true;

    #[inline(always)]
    fn run<'s>(&'s self, row: usize, columns: Range<usize>, staging: &'s mut [E]) -> &'s [E] {
        let staging = &mut staging[..columns.len()];
        self.w.decode_run(self.cols, row, columns, staging);
        staging
    }
}
