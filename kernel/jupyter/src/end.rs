//! What ends a kernel that no client has asked to end: a signal, and the end of the server that started it.

use std::future::pending;
use std::time::Duration;

/// What Jupyter's servers set for the kernels that they start; a kernel started without it has no parent.
const PARENT: &str = "JPY_PARENT_PID";

/// Returns at a signal that asks the process to end: `kill` and `docker stop`, a closed terminal or SSH session, and
/// Slurm's before the time limit.
#[cfg(unix)]
pub(crate) async fn terminated() {
    use tokio::signal::unix::SignalKind;
    use tokio::signal::unix::signal;
    let listen = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        () = listen(SignalKind::terminate()) => {}
        () = listen(SignalKind::hangup()) => {}
        () = listen(SignalKind::user_defined1()) => {}
    }
}

/// Returns when the console is closed, the user logs off, or the machine is shut down.
#[cfg(windows)]
pub(crate) async fn terminated() {
    use tokio::signal::windows::ctrl_close;
    use tokio::signal::windows::ctrl_logoff;
    use tokio::signal::windows::ctrl_shutdown;
    let (Ok(mut close), Ok(mut logoff), Ok(mut shutdown)) = (ctrl_close(), ctrl_logoff(), ctrl_shutdown()) else {
        return pending().await;
    };
    tokio::select! {
        _ = close.recv() => {}
        _ = logoff.recv() => {}
        _ = shutdown.recv() => {}
    }
}

/// The same for a second request: signals that come within a second of the first are one with it.
pub(crate) async fn terminated_again() {
    tokio::time::sleep(Duration::from_secs(1)).await;
    terminated().await;
}

/// Returns when the server that started this kernel is gone, since then nobody can shut it down.
#[cfg(unix)]
pub(crate) async fn orphaned() {
    use std::os::unix::process::parent_id;
    let parent = parent_id();
    if std::env::var_os(PARENT).is_none() {
        return pending().await;
    }
    while parent_id() == parent {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns when the server that started this kernel is gone. It has let the kernel inherit a handle of its process.
#[cfg(windows)]
pub(crate) async fn orphaned() {
    use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
    use windows_sys::Win32::System::Threading::INFINITE;
    use windows_sys::Win32::System::Threading::WaitForSingleObject;
    let Some(handle) = std::env::var(PARENT).ok().and_then(|handle| handle.parse::<usize>().ok()) else {
        return pending().await;
    };
    let (sender, is_gone) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // SAFETY: the call fails for what is no handle.
        if unsafe { WaitForSingleObject(handle as _, INFINITE) } == WAIT_OBJECT_0 {
            // A kernel that has ended meanwhile does not need to hear it.
            let _ = sender.send(());
        }
    });
    if is_gone.await.is_err() {
        pending().await
    }
}
