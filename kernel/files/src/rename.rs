//! Renaming a file or folder in the place of another one, whoever has it open.
//!
//! On Windows what is open cannot be renamed, and cannot always be replaced. Virus scanners and indexers open what has just
//! been written, for a moment, so that a rename that is refused is tried again.

use std::fs;
use std::io;
use std::path::Path;
#[cfg(windows)]
use std::time::Duration;

/// How long it is tried again, and what is waited in between.
#[cfg(windows)]
const PATIENCE: Duration = Duration::from_secs(2);
#[cfg(windows)]
const PAUSE: Duration = Duration::from_millis(10);

/// # Errors
/// As [`fs::rename`]; on Windows also if somebody keeps it open.
#[cfg(not(windows))]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// # Errors
/// As [`fs::rename`]; on Windows also if somebody keeps it open.
#[cfg(windows)]
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use windows_sys::Win32::Foundation::ERROR_ACCESS_DENIED;
    use windows_sys::Win32::Foundation::ERROR_SHARING_VIOLATION;
    let is_in_use = |error: &io::Error| {
        error
            .raw_os_error()
            .is_some_and(|code| [ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION].contains(&code.cast_unsigned()))
    };
    let start = std::time::Instant::now();
    loop {
        match fs::rename(from, to) {
            Err(error) if is_in_use(&error) && start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_for_a_moment_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        [&old, &new].iter().for_each(|path| fs::write(path, path.file_name().unwrap().as_encoded_bytes()).unwrap());
        let open = fs::File::open(&old).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(300));
                drop(open);
            });
            rename(&new, &old).unwrap();
        });
        assert_eq!(fs::read(&old).unwrap(), b"new");
        assert_eq!(rename(&new, &old).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
