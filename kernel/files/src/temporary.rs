//! Hidden names of files and folders that are being written, and cleaning up what a process that died has left under
//! such names. What belongs to a living process is left alone.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::Builder;
use tempfile::TempDir;

use crate::mode;
use crate::rename::rename;

/// Being written, or being deleted.
const UNFINISHED: &str = ".part";
/// Complete, and being moved to its place file by file.
const COMPLETE: &str = ".complete";
/// What gives way to something new of the same name, until that has its place.
const OLD: &str = ".old";
/// Without a way to ask whether a process lives, this is taken for long enough to have died.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Names such as `.checkpoint-5-1234@host-k3Jd9x.part`: hidden, and with the process that writes there.
pub(crate) fn prefix(name: &str) -> String {
    format!(".{name}-{}@{}-", std::process::id(), host())
}

/// Makes temporary names of `prefix`. What is made is for others to read, as far as the umask allows; a temporary file is
/// private by default.
pub(crate) fn builder(prefix: &str) -> Builder<'_, 'static> {
    let mut builder = Builder::new();
    builder.prefix(prefix).suffix(UNFINISHED);
    mode::set(&mut builder, 0o777);
    builder
}

/// A folder for files that live as long as this process, in the system's folder for such; only its owner may enter it. What
/// processes that died have left there is deleted first.
///
/// # Errors
/// The folder cannot be made.
pub fn private_folder(name: &str) -> io::Result<TempDir> {
    let place = std::env::temp_dir();
    sweep_of(&place, name);
    let prefix = prefix(name);
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(UNFINISHED);
    mode::set(&mut builder, 0o700);
    builder.tempdir_in(place)
}

/// The name of a temporary folder whose contents are complete.
pub(crate) fn complete(unfinished: &Path) -> PathBuf {
    unfinished.with_extension(&COMPLETE[1..])
}

/// The name of what gives way to a temporary folder.
pub(crate) fn old(unfinished: &Path) -> PathBuf {
    unfinished.with_extension(&OLD[1..])
}

/// Cleans up in `folder` after processes that died: what is unfinished is deleted, what was complete is moved to its
/// place, and what had given way to something that did not come is there again. What a living process writes stays.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (path, is_folder) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let is_ours = |suffix: &str| name.ends_with(suffix) && is_dead(&name, &path);
        let place = || Some(folder.join(writer(&name)?.name));
        // What cannot be moved or deleted is in nobody's way.
        if is_folder && is_ours(COMPLETE) {
            let _ = crate::folder::move_files(&path, folder);
        } else if is_ours(OLD)
            && let Some(place) = place().filter(|place| !place.exists())
        {
            let _ = rename(&path, &place);
        } else if is_ours(UNFINISHED) || is_ours(OLD) {
            let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

/// A path in a folder that many share, such as the system's for temporary files, for what this process needs as long as it
/// lives. `unique` is what others cannot know. Nothing is made; see [`sweep_of`].
pub fn path_of_this_process(folder: &Path, name: &str, unique: &str) -> PathBuf {
    folder.join(format!("{}{unique}{UNFINISHED}", prefix(name)))
}

/// Deletes in a folder that many share what processes that died have left there under `name`, and nothing else.
pub fn sweep_of(folder: &Path, name: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (file, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let is_of_name = writer(&file).is_some_and(|writer| writer.name == name);
        if is_of_name && file.ends_with(UNFINISHED) && is_dead(&file, &path) {
            // What cannot be deleted is in nobody's way.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Whether the process that a name belongs to is gone. Of another machine's it cannot be asked.
fn is_dead(name: &str, path: &Path) -> bool {
    let Some(writer) = writer(name) else { return false };
    if writer.host == host()
        && let Some(is_alive) = is_alive(writer.process)
    {
        return !is_alive;
    }
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LONG))
}

/// What a temporary name tells.
#[derive(Debug, PartialEq)]
struct Writer<'a> {
    /// What is written.
    name: &'a str,
    process: u32,
    host: &'a str,
}

fn writer(name: &str) -> Option<Writer<'_>> {
    let (before, after) = name.strip_prefix('.')?.rsplit_once('@')?;
    let (name, process) = before.rsplit_once('-')?;
    let (host, _) = after.rsplit_once('-')?;
    Some(Writer { name, process: process.parse().ok()?, host })
}

#[cfg(unix)]
fn is_alive(process: u32) -> Option<bool> {
    let process = rustix::process::Pid::from_raw(process.try_into().ok()?)?;
    Some(rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH))
}

/// A process that may not be asked, as that of another user, is not known to have ended.
#[cfg(windows)]
fn is_alive(process: u32) -> Option<bool> {
    use std::os::windows::io::AsRawHandle;
    use std::os::windows::io::FromRawHandle;
    use std::os::windows::io::OwnedHandle;
    use windows_sys::Win32::Foundation::ERROR_INVALID_PARAMETER;
    use windows_sys::Win32::Foundation::WAIT_TIMEOUT;
    use windows_sys::Win32::System::Threading::OpenProcess;
    use windows_sys::Win32::System::Threading::PROCESS_SYNCHRONIZE;
    use windows_sys::Win32::System::Threading::WaitForSingleObject;
    // SAFETY: it takes numbers, and gives a handle or none.
    let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, process) };
    if handle.is_null() {
        let is_no_process = io::Error::last_os_error().raw_os_error() == Some(ERROR_INVALID_PARAMETER.cast_signed());
        return is_no_process.then_some(false);
    }
    // SAFETY: the handle has just been opened, and is nobody else's.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: it is open until the end of this function.
    Some(unsafe { WaitForSingleObject(handle.as_raw_handle(), 0) } == WAIT_TIMEOUT)
}

/// The machine's name, as far as it may stand in a file's name.
#[cfg(unix)]
pub fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')).collect()
}

/// The machine's name, as far as it may stand in a file's name.
#[cfg(not(unix))]
pub fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that has ended.
    fn dead() -> u32 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let mut child = child.arg("--help").stdout(std::process::Stdio::null()).spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn what_a_dead_process_has_left_is_cleaned_up_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let names = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        let (dead, host) = (dead(), host());
        let left = |name: &str, kind: &str| place(&format!(".{name}-{dead}@{host}-abc.{kind}"));
        for folder in [left("checkpoint-1", "part"), left("files", "complete"), left("checkpoint-2", "old")] {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("new"), "whole").unwrap();
        }
        fs::write(left("a.json", "part"), "half").unwrap();
        fs::write(left("there", "old"), "old").unwrap();
        let mut stays = [
            format!(".a-{}@{host}-abc.part", std::process::id()),
            format!(".a-{dead}@elsewhere-abc.part"),
            ".other.part".to_string(),
            "a.part".to_string(),
            "there".to_string(),
        ];
        stays.iter().for_each(|name| fs::write(place(name), "").unwrap());
        sweep(folder.path());
        stays.sort();
        assert_eq!(names(), [&stays[..4], &["checkpoint-2", "new", "there"].map(String::from)].concat());
        assert_eq!(fs::read_to_string(place("new")).unwrap(), "whole");
        assert_eq!(fs::read_to_string(place("there")).unwrap(), "");
    }

    #[test]
    fn in_a_shared_folder_only_what_has_the_name_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (dead, host) = (dead(), host());
        let left = folder.path().join(format!(".rust-{dead}@{host}-abc.part"));
        let stays = [
            path_of_this_process(folder.path(), "rust", "abc"),
            folder.path().join(format!(".rust-{dead}@{host}-abc.complete")),
            folder.path().join(format!(".other-{dead}@{host}-abc.part")),
        ];
        fs::create_dir(&left).unwrap();
        stays.iter().for_each(|path| fs::create_dir(path).unwrap());
        fs::write(left.join("file"), "").unwrap();
        sweep_of(folder.path(), "rust");
        assert!(!left.exists() && stays.iter().all(|path| path.exists()));
    }

    #[test]
    fn names_tell_who_writes() {
        let (name, host) = (format!("{}k3Jd9x.part", prefix("checkpoint-5")), host());
        let expected = Writer { name: "checkpoint-5", process: std::process::id(), host: &host };
        assert_eq!(writer(&name), Some(expected), "{name}");
        assert_eq!(writer(".other-x.part"), None);
    }
}
