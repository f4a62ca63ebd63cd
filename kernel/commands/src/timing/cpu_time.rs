//! The time that this process has had on CPUs.

/// That in user mode and that in the system's, in seconds, of this process and of its children that have ended.
#[cfg(unix)]
pub(super) fn seconds() -> Option<[f64; 2]> {
    let (own, children) = (usage(libc::RUSAGE_SELF)?, usage(libc::RUSAGE_CHILDREN)?);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    let sum = |one, other| seconds(one) + seconds(other);
    Some([sum(own.ru_utime, children.ru_utime), sum(own.ru_stime, children.ru_stime)])
}

#[cfg(unix)]
fn usage(whose: libc::c_int) -> Option<libc::rusage> {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the call writes a whole `rusage` where it succeeds, and only then is it taken for one.
    unsafe { (libc::getrusage(whose, usage.as_mut_ptr()) == 0).then(|| usage.assume_init()) }
}

/// The same of this process alone.
#[cfg(windows)]
pub(super) fn seconds() -> Option<[f64; 2]> {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::GetCurrentProcess;
    use windows_sys::Win32::System::Threading::GetProcessTimes;
    let [mut created, mut exited, mut system, mut user] = [FILETIME::default(); 4];
    // SAFETY: all are places for such a time, and the handle is that of this process.
    let is_told = unsafe { GetProcessTimes(GetCurrentProcess(), &mut created, &mut exited, &mut system, &mut user) };
    // In units of 100 ns.
    let seconds =
        |time: FILETIME| ((u64::from(time.dwHighDateTime) << 32) + u64::from(time.dwLowDateTime)) as f64 * 1e-7;
    (is_told != 0).then(|| [seconds(user), seconds(system)])
}
