//! Buffers that threads keep for themselves, so that a matmul allocates nothing once one of its size
//! has been computed.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use crate::source::Source;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Lanes as cache lines hold them: a vector of packed lanes must not straddle two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// A buffer of lanes that goes back to its thread when dropped.
pub(crate) struct Scratch<L> {
    lines: Vec<Line>,
    len: usize,
    lanes: PhantomData<L>,
}

impl<L: Pod> Scratch<L> {
    /// A buffer of `len` lanes, whose contents are whatever was left there.
    pub(crate) fn new(len: usize) -> Self {
        const { assert!(size_of::<L>() == size_of::<u32>() && align_of::<L>() <= align_of::<Line>()) };
        let mut lines = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
        if lines.len() < len.div_ceil(16) {
            lines.resize(len.div_ceil(16), Line::zeroed());
        }
        Scratch { lines, len, lanes: PhantomData }
    }
}

/// A buffer for the runs of a source, see [`Source::run`]; empty if it needs none.
pub(crate) struct Staging<E> {
    lanes: Scratch<u32>,
    elements: PhantomData<E>,
}

impl<E: Pod> Staging<E> {
    /// A buffer of `len` elements for `S`, whose contents are whatever was left there.
    pub(crate) fn new<S: Source<Elem = E>>(len: usize) -> Self {
        let len = if S::STAGED { (len * size_of::<E>()).div_ceil(size_of::<u32>()) } else { 0 };
        Staging { lanes: Scratch::new(len), elements: PhantomData }
    }
}

impl<E: Pod> Deref for Staging<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        bytemuck::cast_slice(&self.lanes)
    }
}

impl<E: Pod> DerefMut for Staging<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        bytemuck::cast_slice_mut(&mut self.lanes)
    }
}

impl<L: Pod> Deref for Scratch<L> {
    type Target = [L];

    fn deref(&self) -> &[L] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<L: Pod> DerefMut for Scratch<L> {
    fn deref_mut(&mut self) -> &mut [L] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl<L> Drop for Scratch<L> {
    fn drop(&mut self) {
        FREE.with_borrow_mut(|free| free.push(mem::take(&mut self.lines)));
    }
}

/// The places of floats that are about to be overwritten.
pub(crate) fn uninit(data: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the types have the same layout, and this crate writes nothing but floats through the result.
    unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast(), data.len()) }
}
