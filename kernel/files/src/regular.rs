//! Reading files whose names come from outside: from a dataset, a model folder or a command.
//!
//! Such a path may lead to a pipe that nobody writes to, or to a device without an end. So everything that is read goes
//! through [`open`], which opens regular files only and does not wait.

use std::fs::File;
use std::fs::FileType;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::path::Path;

/// What lies at a path instead of a file. Whoever reads it may wait for ever, or never come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFile {
    #[error("it is a pipe; write its output to a file, and use that file")]
    Pipe,
    #[error("it is a socket, not a file")]
    Socket,
    #[error("it is a device, not a file")]
    Device,
}

impl NotAFile {
    /// What was wrong, if it was that.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// Opens a regular file.
///
/// # Errors
/// It cannot be opened, or is something else: a folder, or [`NotAFile`].
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // To open a pipe is to wait for who writes to it, and a terminal that is opened could become this process's own.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits().cast_signed(),
    );
    let file = options.open(path).map_err(|error| match error.kind() {
        // Windows calls it that.
        io::ErrorKind::PermissionDenied if path.is_dir() => io::ErrorKind::IsADirectory.into(),
        _ => error,
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(if kind.is_dir() {
        io::ErrorKind::IsADirectory.into()
    } else {
        io::Error::new(io::ErrorKind::InvalidInput, what_it_is(kind))
    })
}

#[cfg(unix)]
fn what_it_is(kind: FileType) -> NotAFile {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        NotAFile::Pipe
    } else if kind.is_socket() {
        NotAFile::Socket
    } else {
        NotAFile::Device
    }
}

#[cfg(not(unix))]
fn what_it_is(_: FileType) -> NotAFile {
    NotAFile::Device
}

/// The contents of a regular file.
///
/// # Errors
/// As [`open`], or there is no memory for so much.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut contents = Vec::new();
    contents.try_reserve_exact(usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX))?;
    file.read_to_end(&mut contents)?;
    Ok(contents)
}

/// The same of a file of UTF-8 text.
///
/// # Errors
/// As [`read`], or it is no such text.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "é").unwrap();
        assert_eq!(read(&path).unwrap(), "é".as_bytes());
        assert_eq!(read_to_string(&path).unwrap(), "é");
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_to_string(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link) = (folder.path().join("pipe.json"), folder.path().join("zero.json"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        for (path, expected) in [(pipe, Some(NotAFile::Pipe)), (link, Some(NotAFile::Device))] {
            assert_eq!(NotAFile::of(&read(&path).unwrap_err()), expected, "{}", path.display());
        }
        assert!(read(&folder.path().join("socket")).is_err());
    }
}
