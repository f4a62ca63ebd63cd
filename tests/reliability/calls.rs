//! Which system calls change the disk, and what they change.

use std::fs;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use nix::libc;
use nix::unistd::Pid;

/// How a call names what it changes, by the numbers of its arguments.
#[derive(Clone, Copy)]
enum Named {
    /// A path.
    Path(usize),
    /// A descriptor of a folder, and a path from there.
    At(usize, usize),
    /// A descriptor.
    Open(usize),
}

use Named::At;
use Named::Open;
use Named::Path as Plain;

/// The calls of every architecture.
const CALLS: &[(i64, &str, &[Named])] = &[
    (libc::SYS_renameat, "renameat", &[At(0, 1), At(2, 3)]),
    (libc::SYS_renameat2, "renameat2", &[At(0, 1), At(2, 3)]),
    (libc::SYS_mkdirat, "mkdirat", &[At(0, 1)]),
    (libc::SYS_unlinkat, "unlinkat", &[At(0, 1)]),
    (libc::SYS_linkat, "linkat", &[At(0, 1), At(2, 3)]),
    (libc::SYS_symlinkat, "symlinkat", &[At(1, 2)]),
    (libc::SYS_openat, "openat", &[At(0, 1)]),
    (libc::SYS_truncate, "truncate", &[Plain(0)]),
    (libc::SYS_ftruncate, "ftruncate", &[Open(0)]),
    (libc::SYS_fallocate, "fallocate", &[Open(0)]),
    (libc::SYS_write, "write", &[Open(0)]),
    (libc::SYS_writev, "writev", &[Open(0)]),
    (libc::SYS_pwrite64, "pwrite64", &[Open(0)]),
    (libc::SYS_pwritev, "pwritev", &[Open(0)]),
    (libc::SYS_fsync, "fsync", &[Open(0)]),
    (libc::SYS_fdatasync, "fdatasync", &[Open(0)]),
    (libc::SYS_copy_file_range, "copy_file_range", &[Open(2)]),
    (libc::SYS_sendfile, "sendfile", &[Open(0)]),
];

/// Older ones, which newer architectures do without.
#[cfg(target_arch = "x86_64")]
const OLDER: &[(i64, &str, &[Named])] = &[
    (libc::SYS_rename, "rename", &[Plain(0), Plain(1)]),
    (libc::SYS_mkdir, "mkdir", &[Plain(0)]),
    (libc::SYS_rmdir, "rmdir", &[Plain(0)]),
    (libc::SYS_unlink, "unlink", &[Plain(0)]),
    (libc::SYS_link, "link", &[Plain(0), Plain(1)]),
    (libc::SYS_symlink, "symlink", &[Plain(1)]),
    (libc::SYS_open, "open", &[Plain(0)]),
    (libc::SYS_creat, "creat", &[Plain(0)]),
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[(i64, &str, &[Named])] = &[];

/// A call at whose entry a thread was stopped.
pub(super) struct Call {
    pub number: i64,
    pub arguments: [u64; 6],
}

impl Call {
    /// Its name, if it changes something in `folder`.
    pub(super) fn changes(&self, process: Pid, folder: &Path) -> Option<&'static str> {
        let (_, name, named) = CALLS.iter().chain(OLDER).find(|(number, ..)| *number == self.number)?;
        if !self.opens_to_change() {
            return None;
        }
        let places = named.iter().filter_map(|named| self.place(process, *named));
        places.into_iter().any(|place| place.starts_with(folder)).then_some(*name)
    }

    /// Many files are opened to be read.
    fn opens_to_change(&self) -> bool {
        let flags = match self.number {
            libc::SYS_openat => self.arguments[2],
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => self.arguments[1],
            _ => return true,
        };
        flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0
    }

    fn place(&self, process: Pid, named: Named) -> Option<PathBuf> {
        match named {
            Plain(path) => Some(link(process, "cwd")?.join(self.path(process, path)?)),
            At(folder, path) => {
                let folder = match self.arguments[folder] as RawFd {
                    libc::AT_FDCWD => link(process, "cwd")?,
                    open => link(process, &format!("fd/{open}"))?,
                };
                Some(folder.join(self.path(process, path)?))
            }
            Open(open) => link(process, &format!("fd/{}", self.arguments[open] as RawFd)),
        }
    }

    /// The text that an argument points to.
    fn path(&self, process: Pid, argument: usize) -> Option<PathBuf> {
        let memory = fs::File::open(format!("/proc/{process}/mem")).ok()?;
        let mut bytes = [0; libc::PATH_MAX as usize];
        // What comes back is shorter where memory ends.
        let length = memory.read_at(&mut bytes, self.arguments[argument]).ok()?;
        let end = bytes[..length].iter().position(|byte| *byte == 0)?;
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[..end])))
    }
}

fn link(process: Pid, name: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/{name}")).ok()
}
