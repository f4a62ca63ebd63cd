//! One program at a time fetches a file. The locks are those of the hubs' own libraries, so that Python waits for us as we
//! wait for Python.

use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::download::make_folder;
use super::download::unwritten;
use crate::error::Result;
use crate::event::Context;

/// How often a wait looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// An advisory lock, which ends with the process, however that ends. Its file stays, as those libraries leave it: whoever
/// waits has it open.
#[derive(Debug)]
pub(super) struct Lock {
    /// None where a disk knows no locks.
    _file: Option<File>,
}

impl Lock {
    /// Waits for the program that holds the lock, if there is one, and calls `tell` before.
    ///
    /// # Errors
    /// The file cannot be made, or a stop is asked for.
    pub(super) fn wait(path: &Path, cx: &Context, tell: impl FnOnce()) -> Result<Self> {
        make_folder(path)?;
        let file = open(path).map_err(|source| unwritten(path, source))?;
        let mut tell = Some(tell);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: Some(file) }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(_)) => return Ok(Self { _file: None }),
            }
            if let Some(tell) = tell.take() {
                tell();
            }
            thread::sleep(LOOK);
            cx.check_cancelled()?;
        }
    }
}

/// Opens a lock's file. What it holds is its holder's.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Users who share a cache wait for one another.
        options.mode(0o664).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Error;
    use crate::event::Cancel;

    #[test]
    fn a_lock_is_waited_for_until_it_is_free_or_a_stop_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks/a.lock");
        let cancel = Cancel::default();
        let cx = Context { emit: &|_| {}, cancel: &cancel };
        let told = Cell::new(0);
        let wait = || Lock::wait(&path, &cx, || told.set(told.get() + 1));
        // The file of a program that is gone is in nobody's way.
        drop(wait().unwrap());
        let first = wait().unwrap();
        assert!(path.is_file() && told.get() == 0);

        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(3 * LOOK);
                cancel.cancel();
            });
            assert!(matches!(wait(), Err(Error::Cancelled)));
        });
        assert_eq!(told.get(), 1);

        cancel.reset();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(3 * LOOK);
                drop(first);
            });
            wait().unwrap();
        });
        assert_eq!(told.get(), 2);
    }
}
