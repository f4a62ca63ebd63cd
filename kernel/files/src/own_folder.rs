//! The folder in which a user's files are, also for a user without a home.

use std::io;
use std::path::Path;
use std::path::PathBuf;

/// The program's folder below `home` (of caches, of data), which is made when something is written there. Without a home it
/// is one below the system's folder for temporary files: everybody can foresee its name, so that it must be this user's, and
/// closed to others, who could have put anything there.
///
/// # Errors
/// It is somebody else's, or cannot be made.
pub fn own_folder(home: Option<PathBuf>) -> io::Result<PathBuf> {
    home.map_or_else(|| closed_folder(&std::env::temp_dir()), |home| Ok(home.join("tunebook")))
}

#[cfg(unix)]
fn closed_folder(place: &Path) -> io::Result<PathBuf> {
    use std::fs;
    use std::os::unix::fs::DirBuilderExt;
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    let folder = place.join(format!("tunebook-{user}"));
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Not of what a link leads to.
    let found = fs::symlink_metadata(&folder)?;
    match found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0 {
        true => Ok(folder),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

#[cfg(not(unix))]
fn closed_folder(place: &Path) -> io::Result<PathBuf> {
    Ok(place.join("tunebook"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn without_a_home_a_folder_is_taken_only_if_nobody_else_could_have_filled_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = closed_folder(place.path()).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(closed_folder(place.path()).unwrap(), folder);
        let refused = || closed_folder(place.path()).unwrap_err().kind() == io::ErrorKind::PermissionDenied;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refused(), "open to others");
        let elsewhere = place.path().join("elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        assert!(refused(), "a link");
    }

    #[test]
    fn a_home_is_taken_as_it_is() {
        assert_eq!(own_folder(Some("/home/a/.cache".into())).unwrap(), Path::new("/home/a/.cache/tunebook"));
    }
}
