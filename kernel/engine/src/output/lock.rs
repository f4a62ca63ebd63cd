//! One training at a time writes to an output folder.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::error::Error;
use crate::error::Result;

const NAME: &str = ".lock";

/// The files that this process has locked. On Windows nobody can read them meanwhile, so that they do not tell us.
static OURS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// An advisory lock on a folder: a locked file that says which process on which machine holds it. It ends with the process,
/// however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// None where this process holds the folder already.
    file: Option<File>,
}

impl Lock {
    /// # Errors
    /// Another process holds the folder; it cannot be written to.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let place = folder.canonicalize().map_err(|source| Error::Write { path: folder.to_path_buf(), source })?;
        let path = place.join(NAME);
        let error = |source| Error::Write { path: path.clone(), source };
        loop {
            let mut file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(error)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if ours().contains(&path) => return Ok(Self { path, file: None }),
                Err(TryLockError::WouldBlock) => {
                    let holder = fs::read_to_string(&path).unwrap_or_else(|_| "?".to_string());
                    return Err(Error::OutputLocked { path: folder.to_path_buf(), holder: holder.trim().to_string() });
                }
                // A file system without locks has no protection.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(source)) => return Err(error(source)),
            }
            // Who held it before may have deleted the file between the two lines above.
            if is_at(&file, &path) {
                file.set_len(0).and_then(|()| file.write_all(this_process().as_bytes())).map_err(error)?;
                ours().insert(path.clone());
                return Ok(Self { path, file: Some(file) });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.is_some() {
            ours().remove(&self.path);
            // A file that stays is unlocked all the same.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn ours() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn this_process() -> String {
    format!("{} on {}", std::process::id(), tunebook_files::host())
}

/// Whether an open file is the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(named)) if id(&open) == id(&named))
}

/// A file that is open cannot be deleted here.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_and_is_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        // `save` into the folder of the training that is on.
        drop(Lock::take(folder.path()).unwrap());
        assert!(folder.path().join(NAME).exists());
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // What a process that was killed has left.
        fs::write(folder.path().join(NAME), "1 on elsewhere").unwrap();
        drop(Lock::take(folder.path()).unwrap());
    }

    #[test]
    fn another_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "4711 on elsewhere").unwrap();
        let other = File::open(&path).unwrap();
        other.lock().unwrap();
        let message = Lock::take(folder.path()).unwrap_err().to_string();
        // Where one can read what another has locked.
        assert!(cfg!(windows) || message.contains("4711 on elsewhere"), "{message}");
        drop(other);
        Lock::take(folder.path()).unwrap();
    }
}
