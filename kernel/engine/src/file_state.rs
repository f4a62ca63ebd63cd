//! Whether a file is still the one that was read.

use std::fs::Metadata;
use std::time::SystemTime;

/// What changes when a file is written or replaced. The time of the last write alone does not tell: `cp -p`, `unzip`
/// and `rsync -t` set it to that of the copied file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileState {
    length: u64,
    written: Option<SystemTime>,
    version: Version,
}

impl FileState {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), written: metadata.modified().ok(), version: version(metadata) }
    }
}

/// Device, inode, and the seconds and nanoseconds of the last change, which no program can set back.
#[cfg(unix)]
type Version = (u64, u64, i64, i64);

#[cfg(unix)]
fn version(metadata: &Metadata) -> Version {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// When the file came to be, which is the closest that there is elsewhere.
#[cfg(not(unix))]
type Version = Option<SystemTime>;

#[cfg(not(unix))]
fn version(metadata: &Metadata) -> Version {
    metadata.created().ok()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::fs::File;
    use std::path::Path;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn state(path: &Path) -> FileState {
        FileState::of(&fs::metadata(path).unwrap())
    }

    #[test]
    fn a_file_written_over_or_replaced_under_the_same_time_and_length_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.png"), dir.path().join("b.png"));
        fs::write(&path, "one").unwrap();
        let before = state(&path);
        assert_eq!(state(&path), before);

        let keep_time = |path: &Path| {
            File::options().write(true).open(path).unwrap().set_modified(before.written.unwrap()).unwrap();
        };
        // The clock of a file system ticks a few times in a hundredth of a second.
        thread::sleep(Duration::from_millis(20));
        fs::write(&path, "two").unwrap();
        keep_time(&path);
        let written_over = state(&path);
        assert_ne!(written_over, before);

        fs::write(&other, "two").unwrap();
        keep_time(&other);
        fs::rename(&other, &path).unwrap();
        assert_ne!(state(&path), written_over);
    }
}
