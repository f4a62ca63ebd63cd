//! A memory-mapped weight file, and whether it is still the file that was mapped.
//!
//! What another program writes to the file shows through the mapping. So length and time of the file are compared after
//! each pass and each token; a training then keeps a checkpoint, without the open accumulation window, and ends. If
//! another file is renamed over it, the mapping stays intact.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use memmap2::Mmap;

use crate::bus_error::Guard;
use crate::error::Error;
use crate::error::Result;

/// A read-only mapping of a whole file.
pub(crate) struct MappedFile {
    pub path: PathBuf,
    pub map: Arc<Mmap>,
    file: File,
    state: Option<State>,
    /// None where no place is left.
    guard: Option<Guard>,
}

/// What changes when a file is written to: its length, and the time of the last write. Being renamed over or deleted
/// changes neither, and leaves the mapping whole.
type State = (u64, Option<SystemTime>);

impl MappedFile {
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let read_error = |source| Error::Read { path: path.clone(), source };
        let file = tunebook_files::open(&path).map_err(read_error)?;
        // SAFETY: the mapping is read-only. Another program that writes to the file changes what is read, which
        // `check_unchanged` tells; one that cuts it off makes reading fail with a signal, which `Guard` answers.
        let map = unsafe { Mmap::map(&file) }.map_err(read_error)?;
        let state = state(&file);
        let guard = Guard::new(&map);
        Ok(Self { path, map: Arc::new(map), file, state, guard })
    }

    /// # Errors
    /// The file was written to or cut off since it was mapped.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match self.is_broken() || state(&self.file) != self.state {
            true => Err(Error::WeightsChanged { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    fn is_broken(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::is_broken)
    }
}

fn state(file: &File) -> Option<State> {
    let metadata = file.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}
