//! Writing a file so that a reader sees the old one or the whole new one, and nothing in between.

use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;

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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    // A temporary file is private by default; what is saved is for others to read, as far as the umask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    write(file.as_file_mut())?;
    // Without this, a crash soon after could leave a renamed file without contents.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
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
}
