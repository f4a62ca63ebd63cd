//! Stands for `bus_error` where the system lets nobody cut off a file that is mapped.

use memmap2::Mmap;

/// Has nothing to watch over.
pub(crate) enum Guard {}

impl Guard {
    pub(crate) fn new(_: &Mmap) -> Option<Self> {
        None
    }

    pub(crate) fn is_broken(&self) -> bool {
        match *self {}
    }
}
