//! Buffers that threads keep for themselves, so that a product allocates nothing once it has been done before.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

thread_local! {
    static FREE: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of lanes that goes back to its thread when dropped.
pub(crate) struct Scratch<L> {
    words: Vec<u32>,
    len: usize,
    lanes: PhantomData<L>,
}

impl<L: Pod> Scratch<L> {
    /// A buffer of `len` lanes, whose contents are whatever was left there.
    pub(crate) fn new(len: usize) -> Self {
        const { assert!(size_of::<L>() == size_of::<u32>() && align_of::<L>() == align_of::<u32>()) };
        let mut words = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
        if words.len() < len {
            words.resize(len, 0);
        }
        Scratch { words, len, lanes: PhantomData }
    }
}

impl<L: Pod> Deref for Scratch<L> {
    type Target = [L];

    fn deref(&self) -> &[L] {
        bytemuck::cast_slice(&self.words[..self.len])
    }
}

impl<L: Pod> DerefMut for Scratch<L> {
    fn deref_mut(&mut self) -> &mut [L] {
        bytemuck::cast_slice_mut(&mut self.words[..self.len])
    }
}

impl<L> Drop for Scratch<L> {
    fn drop(&mut self) {
        FREE.with_borrow_mut(|free| free.push(mem::take(&mut self.words)));
    }
}
