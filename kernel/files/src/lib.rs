//! Files that are there whole or not at all: a reader sees the old one or the new one, and nothing in between. Files
//! that others have written are read only if they are regular files.

mod folder;
mod mode;
mod own_folder;
mod regular;
mod rename;
mod temporary;

use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

pub use folder::NewFolder;
pub use folder::remove;
pub use own_folder::own_folder;
pub use regular::NotAFile;
pub use regular::open;
pub use regular::read;
pub use regular::read_to_string;
pub use rename::rename;
pub use temporary::host;
pub use temporary::path_of_this_process;
pub use temporary::private_folder;
pub use temporary::sweep;
pub use temporary::sweep_of;

/// Writes `contents` beside `path` and renames it into place. Whoever has the old file open or mapped keeps it.
///
/// # Errors
/// The folder cannot be written to, or the disk is full; the old file is then as it was.
pub fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace_file_with(path, |file| file.write_all(contents))
}

/// The same for contents that are not in memory as a whole.
///
/// # Errors
/// As [`replace_file`], or what `write` reports.
pub fn replace_file_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let file = beside(path, write)?;
    // Without this, a crash soon after could leave a renamed file without contents.
    file.as_file().sync_all()?;
    persist(file, path)
}

/// Writes what can be made again: a file that holds `contents` already stays, and nothing waits for the disk. Many may
/// write the same file at once.
///
/// # Errors
/// As [`replace_file`].
pub fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == contents) {
        return Ok(());
    }
    persist(beside(path, |file| file.write_all(contents))?, path)
}

/// What `write` writes, under a name in the folder of `path` that no other process has.
fn beside(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = temporary::prefix("file");
    let mut builder = temporary::builder(&prefix);
    mode::set(&mut builder, 0o666);
    let mut file = builder.tempfile_in(folder)?;
    write(file.as_file_mut())?;
    Ok(file)
}

/// Gives a temporary file its name.
fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    let temporary = file.into_temp_path().keep()?;
    rename(&temporary, path).inspect_err(|_| {
        // The next one who writes there deletes what stays.
        let _ = std::fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        replace_file(&path, b"old").unwrap();
        let old = std::fs::File::open(&path).unwrap();
        replace_file(&path, b"new one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new one");
        assert_eq!(io::read_to_string(old).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_was_written() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        replace_file(&ours, b"").unwrap();
        std::fs::write(&plain, b"").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(plain));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace_file(&folder.path().join("none/a.json"), b"").is_err());
    }

    #[test]
    fn many_may_write_the_same_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        let contents: Vec<_> = (0..8_u8).map(|writer| vec![writer; 100_000]).collect();
        std::thread::scope(|scope| {
            for bytes in &contents {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_whole(path, bytes).unwrap()));
            }
            for _ in 0..200 {
                if let Ok(read) = std::fs::read(&path) {
                    assert!(contents.contains(&read));
                }
            }
        });
        assert!(contents.contains(&std::fs::read(&path).unwrap()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_already_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_whole(&path, b"one").unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        write_whole(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
        write_whole(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }
}
