//! Folders, and groups of files, that are there whole or not at all.
//!
//! A new folder is filled under a hidden name with the process's id, flushed to disk, and then exchanged with the
//! folder that it replaces (`renameat2`; elsewhere the old one steps aside, and comes back if the process dies just
//! then). Files that belong together, such as an adapter's weights and configuration, are moved to their places when
//! all are written; whoever writes there next completes an interrupted move. So a kill at any moment leaves the earlier
//! folder, and leftovers that do not look like one.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::rename::rename;
use crate::temporary;

/// A folder to be filled, which takes its place when it is complete, and is deleted otherwise.
pub struct NewFolder {
    temporary: TempDir,
}

impl NewFolder {
    /// A folder beside `place`, to take it.
    ///
    /// # Errors
    /// The folder that `place` is in cannot be written to.
    pub fn beside(place: &Path) -> io::Result<Self> {
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::new(parent(place), &name)
    }

    /// A folder in `folder`, whose files are to take their places there.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn within(folder: &Path) -> io::Result<Self> {
        Self::new(folder, "files")
    }

    fn new(parent: &Path, name: &str) -> io::Result<Self> {
        temporary::sweep(parent);
        Ok(Self { temporary: temporary::builder(&temporary::prefix(name)).tempdir_in(parent)? })
    }

    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Puts the folder in the place of `place`; one that is there is deleted. At any moment there is a whole folder of that
    /// name where the system can exchange two names. Elsewhere there is none between two renames, and if the process dies
    /// there, [`sweep`](crate::sweep) brings the old one back.
    ///
    /// # Errors
    /// The disk refuses; what was there is as it was.
    pub fn replace(self, place: &Path) -> io::Result<()> {
        sync(self.path())?;
        if !place.exists() {
            rename(self.path(), place)?;
        } else if !exchange(self.path(), place)? {
            let old = temporary::old(self.path());
            rename(place, &old)?;
            rename(self.path(), place).inspect_err(|_| {
                // If that fails, too, the next sweep does it.
                let _ = rename(&old, place);
            })?;
            sync(parent(place))?;
            return fs::remove_dir_all(old);
        }
        sync(parent(place))?;
        // After an exchange, this is the old one.
        self.temporary
            .close()
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// Moves each file to its place in the folder that this one is in, replacing files of the same name. If the process
    /// dies meanwhile, [`sweep`](crate::sweep) moves the rest.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn merge(self) -> io::Result<()> {
        sync(self.path())?;
        let complete = temporary::complete(self.path());
        rename(self.path(), &complete)?;
        sync(parent(&complete))?;
        move_files(&complete, parent(&complete))
    }
}

/// Moves the files of a folder into another one, and deletes it.
pub(crate) fn move_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        rename(&entry.path(), &to.join(entry.file_name()))?;
    }
    sync(to)?;
    fs::remove_dir(from)
}

/// Deletes a folder. What is left of it if this is cut short has another name.
///
/// # Errors
/// The disk refuses.
pub fn remove(place: &Path) -> io::Result<()> {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = temporary::builder(&temporary::prefix(&name)).tempdir_in(parent(place))?;
    // An empty folder gives way to a renamed one, but not on every system.
    fs::remove_dir(aside.path())?;
    rename(place, aside.path())?;
    aside.close()
}

/// Exchanges two names; whether the system can.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(a: &Path, b: &Path) -> io::Result<bool> {
    use rustix::fs::CWD;
    use rustix::fs::RenameFlags;
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Has the names in a folder reach the disk.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

fn parent(place: &Path) -> &Path {
    place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_takes_the_place_of_another() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("a");
        for text in ["old", "new"] {
            let folder = NewFolder::beside(&place).unwrap();
            fs::write(folder.path().join("file"), text).unwrap();
            folder.replace(&place).unwrap();
            assert_eq!(fs::read_to_string(place.join("file")).unwrap(), text);
            assert_eq!(names(parent.path()), ["a"]);
        }
        drop(NewFolder::beside(&place).unwrap());
        assert_eq!(names(parent.path()), ["a"]);
        remove(&place).unwrap();
        assert!(names(parent.path()).is_empty());
    }

    #[test]
    fn files_take_their_places_together() {
        let folder = tempfile::tempdir().unwrap();
        ["a", "b"].iter().for_each(|name| fs::write(folder.path().join(name), "old").unwrap());
        let new = NewFolder::within(folder.path()).unwrap();
        ["b", "c"].iter().for_each(|name| fs::write(new.path().join(name), "new").unwrap());
        new.merge().unwrap();
        assert_eq!(names(folder.path()), ["a", "b", "c"]);
        assert_eq!(
            ["a", "b", "c"].map(|name| fs::read_to_string(folder.path().join(name)).unwrap()),
            ["old", "new", "new"]
        );
    }
}
