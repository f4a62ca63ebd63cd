//! Stands for `echo` on Windows, whose console writes nothing of Ctrl-C and is given back as it was by who changes it.

/// There is nothing to keep.
pub(crate) struct ControlKeysUnwritten;

impl ControlKeysUnwritten {
    pub(crate) fn new() -> Self {
        Self
    }
}

/// How a terminal was.
pub(crate) enum Terminal {}

pub(crate) fn terminal() -> Option<Terminal> {
    None
}

pub(crate) fn restore(_: &Option<Terminal>) {}
