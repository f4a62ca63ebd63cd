//! The binary as a child that may not take more time or memory than an input is worth.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::binary::tunebook;

/// Seconds of a processor; a child that computes longer hangs, and is ended by SIGXCPU.
const SECONDS: u64 = 10;
/// One that waits so long hangs, too: processors may be busy with something else.
const TIME: Duration = Duration::from_secs(60);
/// Address space in KiB.
const ADDRESSES: usize = 4 << 20;

/// How a child ended.
pub(super) struct Ended {
    /// The exit status, or the negative number of the signal that ended it.
    pub code: i32,
    pub hung: bool,
    pub peak_megabytes: i64,
    pub out: String,
    pub err: String,
}

/// What a child is started with.
pub(super) struct Started<'a> {
    pub folder: &'a Path,
    pub arguments: &'a [&'a str],
    pub stdin: &'a [u8],
    pub environment: &'a [(&'a str, &'a str)],
    /// After so long it is asked to end, which it then does in time: what it was told to do may take days.
    pub patience: Option<Duration>,
}

impl<'a> Started<'a> {
    /// With commands on standard input, in a folder.
    pub(super) fn script(folder: &'a Path, script: &'a str) -> Self {
        Self { folder, arguments: &[], stdin: script.as_bytes(), environment: &[], patience: None }
    }

    /// Waits for the end.
    pub(super) fn ended(&self) -> Ended {
        let place = |name: &str| self.folder.join(name);
        fs::write(place(".stdin"), self.stdin).unwrap();
        let mut command = limited(tunebook());
        command.args(self.arguments).envs(self.environment.iter().copied()).current_dir(self.folder);
        command.stdin(File::open(place(".stdin")).unwrap());
        command.stdout(File::create(place(".stdout")).unwrap()).stderr(File::create(place(".stderr")).unwrap());
        let (code, hung, peak_megabytes) = wait(command.spawn().unwrap(), self.patience);
        let text = |name| String::from_utf8_lossy(&fs::read(place(name)).unwrap()).into_owned();
        Ended { code, hung, peak_megabytes, out: text(".stdout"), err: text(".stderr") }
    }
}

/// A command with a limit of its memory, a home of its own, and no network.
pub(super) fn limited(command: Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -c 0; ulimit -v {ADDRESSES}; ulimit -t {SECONDS}; exec \"$0\" \"$@\"")])
        .arg(command.get_program());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let home = ["HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME", "MODELSCOPE_CACHE"];
    limited
        .envs(home.map(|name| (name, "home")))
        .envs([("HF_ENDPOINT", "http://127.0.0.1:1"), ("RUST_BACKTRACE", "0")]);
    limited
}

/// Waits as long as a child may run, and longer for one that is asked to end. Gives its status, whether it had to be
/// killed, and its peak in memory.
pub(super) fn wait(mut child: Child, patience: Option<Duration>) -> (i32, bool, i64) {
    let id = i32::try_from(child.id()).unwrap();
    let start = Instant::now();
    let limit = TIME + patience.unwrap_or_default();
    let (mut asked, mut hung) = (patience.is_none(), false);
    loop {
        if let Some((code, peak)) = reaped(id) {
            return (code, hung, peak);
        }
        if !asked && patience.is_some_and(|patience| start.elapsed() > patience) {
            asked = true;
            // SAFETY: it is our child, and it was not waited for.
            unsafe { libc::kill(id, libc::SIGTERM) };
        }
        if !hung && start.elapsed() > limit {
            hung = true;
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The status and the peak in memory of a child that has ended; the standard library has no word for the second.
fn reaped(id: i32) -> Option<(i32, i64)> {
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both places are there to be written to, and zeros are a `rusage`.
    let (found, usage) = unsafe {
        let found = libc::wait4(id, &mut status, libc::WNOHANG, usage.as_mut_ptr());
        (found, usage.assume_init())
    };
    assert!(found >= 0, "the child is another's");
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) };
    // In KiB on Linux.
    (found == id).then_some((code, usage.ru_maxrss >> 10))
}
