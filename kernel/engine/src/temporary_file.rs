//! A file without a name, which disappears with the process.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens one on a disk.
///
/// # Errors
/// The disk refuses.
pub(crate) fn open() -> io::Result<File> {
    // /tmp is often kept in memory, which such a file is there to spare.
    let on_disk = Path::new("/var/tmp");
    if on_disk.is_dir() { tempfile::tempfile_in(on_disk) } else { tempfile::tempfile() }
}
