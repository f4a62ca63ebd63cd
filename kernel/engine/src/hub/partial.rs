//! A file that is not all there yet: it grows as `….incomplete` beside its place, for the next attempt to go on from.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io::Write;
use std::path::PathBuf;

use super::HubError;
use super::RemoteFile;
use super::checksum::Hasher;
use super::download::make_folder;
use super::download::unwritten;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;

/// What there is of a file. It belongs to one program at a time.
pub struct Partial<'a> {
    wanted: &'a RemoteFile,
    path: PathBuf,
    file: File,
    length: u64,
    /// Of what there is, where the hub says what it should come to.
    hasher: Option<Hasher>,
}

impl<'a> Partial<'a> {
    /// # Errors
    /// The disk refuses, another program has the file, or a stop is asked for.
    pub fn open(wanted: &'a RemoteFile, cancel: &Cancel) -> Result<Self> {
        let mut path = wanted.blob.as_os_str().to_os_string();
        path.push(".incomplete");
        let path = PathBuf::from(path);
        make_folder(&path)?;
        let failed = |source| unwritten(&path, source);
        let file = OpenOptions::new().create(true).append(true).read(true).open(&path).map_err(failed)?;
        // Where a disk knows no locks, none is held.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(HubError::Busy { path }.into());
        }
        let length = file.metadata().map_err(failed)?.len();
        let mut partial = Self { wanted, path, file, length, hasher: hasher(wanted) };
        if length > wanted.size {
            partial.clear()?;
        } else if let Some(hasher) = &mut partial.hasher
            && !hasher
                .read(&mut partial.file, cancel)
                .map_err(|source| Error::Read { path: partial.path.clone(), source })?
        {
            return Err(Error::Cancelled);
        }
        Ok(partial)
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// # Errors
    /// The disk refuses.
    pub fn add(&mut self, piece: &[u8]) -> Result<()> {
        self.file.write_all(piece).map_err(|source| unwritten(&self.path, source))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        self.length += piece.len() as u64;
        Ok(())
    }

    /// Begins anew.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|source| unwritten(&self.path, source))?;
        (self.length, self.hasher) = (0, hasher(self.wanted));
        Ok(())
    }

    /// Whether the content is the hub's, or what its hash is instead; to be asked once what was added is all.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&mut self) -> std::result::Result<(), String> {
        match (&self.wanted.checksum, self.hasher.take()) {
            (Some(checksum), Some(hasher)) => checksum.check(hasher),
            _ => Ok(()),
        }
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn finish(self) -> Result<()> {
        let failed = |source| unwritten(&self.wanted.blob, source);
        // Large files are known by their size: after a power cut, the size must not be there without the content.
        self.file.sync_data().map_err(failed)?;
        // Some systems do not rename what is open.
        drop(self.file);
        fs::rename(&self.path, &self.wanted.blob).map_err(failed)
    }

    /// Deletes what has come, which is of no use.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn discard(self) -> Result<()> {
        drop(self.file);
        fs::remove_file(&self.path).map_err(|source| unwritten(&self.path, source))
    }
}

fn hasher(wanted: &RemoteFile) -> Option<Hasher> {
    wanted.checksum.as_ref().map(|checksum| checksum.hasher(wanted.size))
}
