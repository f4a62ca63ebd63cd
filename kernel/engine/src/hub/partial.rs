//! A file that is not all there yet: it grows as `….incomplete` beside its place, for the next attempt to go on from.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use super::RemoteFile;
use super::checksum::Hasher;
use super::download::make_folder;
use super::download::unwritten;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;

/// What there is of a file. It belongs to the program that holds the file's lock.
pub(super) struct Partial<'a> {
    wanted: &'a RemoteFile,
    path: PathBuf,
    file: File,
    length: u64,
    /// Of what there is, where the hub says what it should come to.
    hasher: Option<Hasher>,
}

impl<'a> Partial<'a> {
    /// # Errors
    /// The disk refuses, or a stop is asked for.
    pub(super) fn open(wanted: &'a RemoteFile, cancel: &Cancel) -> Result<Self> {
        let mut path = wanted.blob.as_os_str().to_os_string();
        path.push(".incomplete");
        let path = PathBuf::from(path);
        make_folder(&path)?;
        let failed = |source| unwritten(&path, source);
        let file = open(&path).map_err(failed)?;
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

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// # Errors
    /// The disk refuses.
    pub(super) fn add(&mut self, piece: &[u8]) -> Result<()> {
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
    pub(super) fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|source| unwritten(&self.path, source))?;
        (self.length, self.hasher) = (0, hasher(self.wanted));
        Ok(())
    }

    /// Whether the content is the hub's, or what its hash is instead; to be asked once what was added is all.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn check(&mut self) -> std::result::Result<(), String> {
        match (&self.wanted.checksum, self.hasher.take()) {
            (Some(checksum), Some(hasher)) => checksum.check(hasher),
            _ => Ok(()),
        }
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn finish(self) -> Result<()> {
        let failed = |source| unwritten(&self.wanted.blob, source);
        // Large files are known by their size: after a power cut, the size must not be there without the content.
        self.file.sync_data().map_err(failed)?;
        // Some systems do not rename what is open.
        drop(self.file);
        tunebook_files::rename(&self.path, &self.wanted.blob).map_err(failed)
    }

    /// Deletes what has come, which is of no use.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn discard(self) -> Result<()> {
        drop(self.file);
        fs::remove_file(&self.path).map_err(|source| unwritten(&self.path, source))
    }
}

/// Opens a file to go on with. A cache may be shared, or broken: a link would lead what is written elsewhere, a pipe would
/// never end, and a file that has another name is somebody's. Such a thing gives way.
fn open(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|found| !is_ours_alone(&found)) {
        fs::remove_file(path)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true);
    #[cfg(unix)]
    // If a link has come since.
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    options.open(path)
}

#[cfg(unix)]
fn is_ours_alone(found: &fs::Metadata) -> bool {
    found.is_file() && std::os::unix::fs::MetadataExt::nlink(found) == 1
}

#[cfg(not(unix))]
fn is_ours_alone(found: &fs::Metadata) -> bool {
    found.is_file()
}

fn hasher(wanted: &RemoteFile) -> Option<Hasher> {
    wanted.checksum.as_ref().map(|checksum| checksum.hasher(wanted.size))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_no_file_of_ours_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let (blob, other) = (folder.path().join("blob"), folder.path().join("other"));
        let partial = folder.path().join("blob.incomplete");
        let wanted = RemoteFile {
            path: "a".to_string(),
            url: String::new(),
            size: 8,
            checksum: None,
            blob: blob.clone(),
            place: blob.clone(),
            lock: folder.path().join("lock"),
        };
        let fetch = || {
            let mut partial = Partial::open(&wanted, &Cancel::default()).unwrap();
            partial.add(&b"complete"[partial.length() as usize..]).unwrap();
            partial.finish().unwrap();
            assert_eq!(fs::read(&blob).unwrap(), b"complete");
            assert!(fs::symlink_metadata(&blob).unwrap().is_file());
        };
        let make_pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        // A link, a link that leads nowhere, another name of a file, a pipe; and what was there is gone on with.
        fs::write(&other, "precious").unwrap();
        symlink(&other, &partial).unwrap();
        fetch();
        symlink(folder.path().join("nowhere"), &partial).unwrap();
        fetch();
        fs::hard_link(&other, &partial).unwrap();
        fetch();
        make_pipe(&partial);
        fetch();
        fs::write(&partial, "comp").unwrap();
        fetch();
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        assert!(!folder.path().join("nowhere").exists());
        // The place itself may lead elsewhere, too.
        fs::remove_file(&blob).unwrap();
        symlink(&other, &blob).unwrap();
        fetch();
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        // A folder is in the way, and is said to be.
        fs::create_dir(&partial).unwrap();
        assert!(matches!(Partial::open(&wanted, &Cancel::default()), Err(Error::Write { .. })));
    }
}
