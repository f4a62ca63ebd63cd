//! Reading a mapped file beyond the place where another program has truncated it.
//!
//! The system answers such a read with SIGBUS, which would end the process, and with it everything that is trained and
//! not saved. Here the read gives zeros, and the mapping is marked as broken, so that the process lives until it is
//! checked.

use std::sync::Once;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use memmap2::Mmap;

/// Watches over a mapping, which outlives it.
pub(crate) struct Guard {
    slot: &'static Slot,
}

/// A range of addresses; free where `start` is 0.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    is_broken: AtomicBool,
}

/// A signal handler may wait for no lock and allocate nothing, so it looks here. More files than a model has.
static SLOTS: [Slot; 256] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), is_broken: AtomicBool::new(false) } }; 256];

/// Claimed by a guard that has not written its range yet.
const CLAIMED: usize = usize::MAX;

impl Guard {
    /// None where all places are taken.
    pub(crate) fn new(map: &Mmap) -> Option<Self> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let claim = |slot: &&Slot| slot.start.compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let slot = SLOTS.iter().find(claim)?;
        let start = map.as_ptr() as usize;
        slot.is_broken.store(false, Ordering::Relaxed);
        slot.end.store(start + map.len(), Ordering::Relaxed);
        slot.start.store(start, Ordering::Release);
        Some(Self { slot })
    }

    /// Whether something was read that the file no longer had.
    pub(crate) fn is_broken(&self) -> bool {
        self.slot.is_broken.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.slot.start.store(0, Ordering::Release);
    }
}

/// What was done about the signal before, and the size of a page.
static BEFORE: OnceLock<(libc::sigaction, usize)> = OnceLock::new();

fn install() {
    // SAFETY: `sigaction` and `sysconf` read and write no more than what they are given; a `sigaction` of zeros is one
    // without flags, mask and handler. The handler does only what POSIX allows it to do.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before);
        let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
        if BEFORE.set((before, page)).is_err() {
            return;
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    }
}

/// Puts pages of zeros in place of those that cannot be read, so that the read that failed succeeds when it is made again.
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let Some((before, page)) = BEFORE.get() else { return };
    // SAFETY: the system hands over a valid `info`, which of SIGBUS has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    let is_in = |slot: &&Slot| {
        let start = slot.start.load(Ordering::Acquire);
        start != 0 && start != CLAIMED && start <= address && address < slot.end.load(Ordering::Relaxed)
    };
    if let Some(slot) = SLOTS.iter().find(is_in) {
        let first = address - address % page;
        let length = slot.end.load(Ordering::Relaxed) - first;
        let (access, kind) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
        // SAFETY: the pages belong to a mapping of ours that is only read, and what lies behind the end of its file cannot
        // be read in any other way. `mmap` is a system call and nothing else.
        let placed = unsafe { libc::mmap(first as *mut libc::c_void, length, access, kind, -1, 0) };
        if placed != libc::MAP_FAILED {
            slot.is_broken.store(true, Ordering::Relaxed);
            return;
        }
    }
    // None of ours: the read is made again, and what was there before answers.
    // SAFETY: `before` is what `sigaction` has given.
    unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
}
