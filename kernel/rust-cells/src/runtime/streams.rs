//! The standard streams of this process, and what takes their place. Every cell has a standard library of its own, so they
//! are replaced where all of them look.

use std::fs::File;
use std::io;
use std::io::PipeWriter;
#[cfg(unix)]
use std::os::fd::AsFd as _;
#[cfg(windows)]
use std::os::windows::io::AsHandle as _;
#[cfg(windows)]
use std::os::windows::io::AsRawHandle as _;

#[cfg(windows)]
use windows_sys::Win32::System::Console::STD_ERROR_HANDLE;
#[cfg(windows)]
use windows_sys::Win32::System::Console::STD_INPUT_HANDLE;
#[cfg(windows)]
use windows_sys::Win32::System::Console::STD_OUTPUT_HANDLE;
#[cfg(windows)]
use windows_sys::Win32::System::Console::SetStdHandle;

/// Standard input, whatever takes its place.
///
/// # Errors
/// It is closed.
pub(super) fn input() -> io::Result<File> {
    #[cfg(unix)]
    return Ok(io::stdin().as_fd().try_clone_to_owned()?.into());
    #[cfg(windows)]
    return Ok(io::stdin().as_handle().try_clone_to_owned()?.into());
}

/// Standard output, whatever takes its place.
///
/// # Errors
/// It is closed.
pub(super) fn output() -> io::Result<File> {
    #[cfg(unix)]
    return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
    #[cfg(windows)]
    return Ok(io::stdout().as_handle().try_clone_to_owned()?.into());
}

/// Has standard output go to a pipe, which has to stay.
///
/// # Errors
/// The system refuses.
pub(super) fn replace_output(pipe: &PipeWriter) -> io::Result<()> {
    #[cfg(unix)]
    return Ok(rustix::stdio::dup2_stdout(pipe)?);
    #[cfg(windows)]
    return set(STD_OUTPUT_HANDLE, pipe.as_raw_handle());
}

/// The same for standard error.
///
/// # Errors
/// As [`replace_output`].
pub(super) fn replace_error(pipe: &PipeWriter) -> io::Result<()> {
    #[cfg(unix)]
    return Ok(rustix::stdio::dup2_stderr(pipe)?);
    #[cfg(windows)]
    return set(STD_ERROR_HANDLE, pipe.as_raw_handle());
}

/// Has standard input be at its end.
///
/// # Errors
/// The system refuses.
pub(super) fn end_input() -> io::Result<()> {
    #[cfg(unix)]
    return Ok(rustix::stdio::dup2_stdin(File::open("/dev/null")?)?);
    #[cfg(windows)]
    return set(STD_INPUT_HANDLE, std::mem::ManuallyDrop::new(File::open("NUL")?).as_raw_handle());
}

#[cfg(windows)]
fn set(stream: u32, handle: std::os::windows::io::RawHandle) -> io::Result<()> {
    // SAFETY: the handle is open, and stays so.
    match unsafe { SetStdHandle(stream, handle) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
