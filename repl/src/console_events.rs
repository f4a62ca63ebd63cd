//! Stands for `signals` on Windows: the console is closed, the user logs off, or the machine is shut down.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;

use windows_sys::Win32::System::Console::CTRL_CLOSE_EVENT;
use windows_sys::Win32::System::Console::CTRL_LOGOFF_EVENT;
use windows_sys::Win32::System::Console::CTRL_SHUTDOWN_EVENT;
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::core::BOOL;

/// Who hears of events; a handler is a function without state.
static ASKED: OnceLock<Sender<i32>> = OnceLock::new();
/// The status of a program that was ended so.
const ENDED: i32 = 1;

/// Calls `asked` at each, on a thread of its own, with the status of the program that it ends. The system gives the program
/// some seconds before it ends it.
///
/// # Errors
/// The system gives no handler or no thread.
pub(crate) fn listen(mut asked: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let (sender, events) = channel();
    thread::Builder::new().name("signals".to_string()).spawn(move || events.into_iter().for_each(&mut asked))?;
    if ASKED.set(sender).is_ok() {
        // SAFETY: `on_event` is such a handler, and is there as long as the program.
        let is_set = unsafe { SetConsoleCtrlHandler(Some(on_event), 1) };
        if is_set == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Leaves all other events, such as Ctrl-C, to the handler before it.
unsafe extern "system" fn on_event(event: u32) -> BOOL {
    if !matches!(event, CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT) {
        return 0;
    }
    if let Some(asked) = ASKED.get() {
        // Its receiver lives as long as the program.
        let _ = asked.send(ENDED);
    }
    // The program is ended when this returns.
    loop {
        thread::park();
    }
}

/// There are none.
///
/// # Errors
/// None.
pub(crate) fn survive_size_limits() -> io::Result<()> {
    Ok(())
}
