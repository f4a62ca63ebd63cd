//! How kernels read weights: a run of neighbours at a time, as stored if the kernel takes that type, otherwise
//! converted into a staging buffer. Whatever weights are stored as, this is the only place that knows.

use bytemuck::Pod;
use half::bf16;

/// A row-major matrix of weights that reads as elements of type `Elem`.
pub(crate) trait Source: Copy + Send + Sync {
    type Elem: Pod + Send + Sync;
    /// Whether `run` needs its staging buffer.
    const STAGED: bool;

    /// The `len` elements from `start`. `staging` has at least `len` elements if `STAGED`.
    fn run<'s>(&'s self, start: usize, len: usize, staging: &'s mut [Self::Elem]) -> &'s [Self::Elem];
}

/// Weights that are used as they are stored.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a, E>(pub(crate) &'a [E]);

impl<E: Pod + Send + Sync> Source for Stored<'_, E> {
    type Elem = E;
    const STAGED: bool = false;

    #[inline(always)]
    fn run<'s>(&'s self, start: usize, len: usize, _staging: &'s mut [E]) -> &'s [E] {
        &self.0[start..start + len]
    }
}

/// f32 weights, rounded to bf16 as they are read.
#[derive(Clone, Copy)]
pub(crate) struct Rounded<'a>(pub(crate) &'a [f32]);

impl Source for Rounded<'_> {
    type Elem = bf16;
    const STAGED: bool = true;

    #[inline(always)]
    fn run<'s>(&'s self, start: usize, len: usize, staging: &'s mut [bf16]) -> &'s [bf16] {
        let staging = &mut staging[..len];
        for (narrow, &wide) in staging.iter_mut().zip(&self.0[start..start + len]) {
            *narrow = bf16::from_f32(wide);
        }
        staging
    }
}
