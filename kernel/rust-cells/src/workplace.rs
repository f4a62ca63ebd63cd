//! The folder of a session's Rust cells: what they are compiled to, and the socket of `session()`.
//!
//! It lies among the temporary files and is deleted with the session; that of a killed process is deleted when the next
//! session starts Rust. evcxr would delete its own folder only if it were dropped, and gives it a name that does not
//! tell whose it is, so it is given ours through the environment, before there are other threads.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

/// Short, since the path of a socket has room for about 100 bytes.
const NAME: &str = "rust";
/// Where evcxr asks for a folder.
pub(crate) const VARIABLE: &str = "EVCXR_TMPDIR";
/// How often it is tried to delete the folder, while a compiler still writes there, and what is waited between.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Has evcxr use the folder, unless the user names one.
///
/// # Safety
/// No other thread may read or change the environment meanwhile.
pub(crate) unsafe fn choose() {
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: as the caller promises.
        unsafe { std::env::set_var(VARIABLE, CHOSEN.get_or_init(path)) };
    }
}

fn temporary() -> PathBuf {
    let folder = std::env::temp_dir();
    std::path::absolute(&folder).unwrap_or(folder)
}

fn path() -> PathBuf {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    tunebook_files::path_of_this_process(&temporary(), NAME, &unique[..6])
}

/// The folder, once there is one, and the process that runs cells.
#[derive(Default)]
pub(crate) struct Workplace {
    folder: Mutex<Option<PathBuf>>,
    process: Mutex<Option<Arc<Mutex<Child>>>>,
}

impl Workplace {
    /// Makes the folder, which only its owner may enter.
    ///
    /// # Errors
    /// The system's folder for temporary files cannot be written to.
    pub(crate) fn open(&self) -> io::Result<PathBuf> {
        let mut folder = lock(&self.folder);
        if let Some(folder) = &*folder {
            return Ok(folder.clone());
        }
        tunebook_files::sweep_of(&temporary(), NAME);
        let place = CHOSEN.get().cloned().unwrap_or_else(path);
        closed_to_others().create(&place)?;
        Ok(folder.insert(place).clone())
    }

    /// What is ended with the session.
    pub(crate) fn runs(&self, process: Arc<Mutex<Child>>) {
        *lock(&self.process) = Some(process);
    }

    /// Ends the process, whatever it does, and deletes the folder.
    pub(crate) fn close(&self) {
        if let Some(process) = lock(&self.process).take() {
            // It may have ended by itself.
            let _ = lock(&process).kill();
        }
        let Some(folder) = lock(&self.folder).take() else { return };
        for _ in 0..TRIES {
            if fs::remove_dir_all(&folder).is_ok() {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
}

#[cfg(unix)]
fn closed_to_others() -> DirBuilder {
    let mut builder = DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// The system's folder for temporary files is the user's own.
#[cfg(not(unix))]
fn closed_to_others() -> DirBuilder {
    DirBuilder::new()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
