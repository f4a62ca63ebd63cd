//! Commands of the system's shell among ours: what they are, and how one runs.
//!
//! A command has no input, and its output comes as it is written, standard output and standard error apart. It is the
//! first of a group of processes of its own: a Ctrl-C at the terminal is the session's, which ends that group and
//! nothing else.

mod group;
mod pieces;

use std::io;
use std::io::Read;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;
use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use tunebook_engine::Cancel;

use crate::error::Result;
use crate::output::Output;

/// Begins a line.
pub(crate) const MARK: &str = "!";

/// How often a running command is looked after.
const POLL: Duration = Duration::from_millis(20);
/// How long one that was interrupted may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// What is read at once, in bytes, and how many such pieces may wait for whoever shows them: a command that writes faster
/// than that waits, too.
const PIECE: usize = 1 << 15;
const WAITING: usize = 16;

/// The command of a line that begins with `!`; as in IPython, it may be two of them.
pub fn command(line: &str) -> Option<&str> {
    line.trim().strip_prefix(MARK).map(|rest| rest.trim_start_matches(MARK).trim())
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    #[error("the system's shell cannot be started: {0}")]
    Start(io::Error),
    #[error("the command has ended with status {0}")]
    Status(i32),
    #[error("the command was ended by signal {0}")]
    Signal(i32),
}

/// Runs a command in the working folder, and shows what it writes.
///
/// # Errors
/// It cannot be started, ends with another status than 0, or is stopped.
pub(crate) fn run(command: &str, show: &dyn Fn(Output), cancel: &Cancel) -> Result<()> {
    let mut command = system_shell(command);
    group::of_its_own(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(ShellError::Start)?;
    let was_stopped = follow(&mut child, show, cancel).map_err(ShellError::Start)?;
    let status = child.wait().map_err(ShellError::Start)?;
    match (status.code(), group::signal_of(status)) {
        _ if was_stopped => Err(tunebook_engine::Error::Cancelled.into()),
        (Some(0), _) => Ok(()),
        (_, Some(signal)) => Err(ShellError::Signal(signal).into()),
        (code, None) => Err(ShellError::Status(code.unwrap_or(-1)).into()),
    }
}

/// Shows what it writes until it has ended and nobody can write any more; stops it if it is to be stopped, and says
/// whether.
///
/// # Errors
/// The system has no thread.
fn follow(child: &mut Child, show: &dyn Fn(Output), cancel: &Cancel) -> io::Result<bool> {
    let (sender, pieces) = bounded(WAITING);
    let streams: [(Option<Box<dyn Read + Send>>, bool); 2] = [
        (child.stdout.take().map(|pipe| Box::new(pipe) as _), false),
        (child.stderr.take().map(|pipe| Box::new(pipe) as _), true),
    ];
    for (pipe, is_error) in streams {
        let (Some(pipe), sender) = (pipe, sender.clone()) else { continue };
        thread::Builder::new().name("shell".to_string()).spawn(move || pass_on(pipe, is_error, &sender))?;
    }
    drop(sender);
    let (mut is_open, mut stopped) = (true, None::<Instant>);
    while is_open || !group::has_ended(child) {
        match pieces.recv_timeout(POLL) {
            Ok(output) => show(output),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                is_open = false;
                thread::sleep(POLL / 10);
            }
        }
        match stopped {
            None if cancel.is_cancelled() => {
                group::interrupt(child);
                stopped = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => break,
            _ => {}
        }
    }
    // Some of its processes may not listen to an interrupt, such as those that a shell runs in the background.
    if stopped.is_some() {
        group::kill(child);
        pieces.try_iter().for_each(show);
    }
    Ok(stopped.is_some())
}

/// Sends on what comes out of a pipe, until it is closed or nobody listens.
fn pass_on(mut pipe: impl Read, is_error: bool, sender: &Sender<Output>) {
    let (mut read, mut held) = (vec![0; PIECE], Vec::new());
    loop {
        let count = match pipe.read(&mut read) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        held.extend_from_slice(&read[..count]);
        let text = pieces::take_text(&mut held, count == 0);
        if !text.is_empty() && sender.send(Output::Written { text, is_error }).is_err() || count == 0 {
            return;
        }
    }
}

#[cfg(not(windows))]
fn system_shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

/// `cmd` reads its line by rules of its own, so it gets it as it is.
#[cfg(windows)]
fn system_shell(command: &str) -> Command {
    use std::os::windows::process::CommandExt;
    let mut shell = Command::new("cmd");
    shell.arg("/C").raw_arg(format!("\"{command}\""));
    shell
}

#[cfg(all(test, unix))]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::error::Error;

    /// What was written to both streams, and how it ended.
    fn ran(command: &str, cancel: &Cancel) -> (String, String, Result<()>) {
        let written = RefCell::new([String::new(), String::new()]);
        let show = |output| {
            let Output::Written { text, is_error } = output else { panic!("{output:?}") };
            written.borrow_mut()[usize::from(is_error)] += &text;
        };
        let result = run(command, &show, cancel);
        let [out, err] = written.into_inner();
        (out, err, result)
    }

    #[test]
    fn a_line_with_the_mark_is_a_command() {
        assert_eq!(command(" !ls -l "), Some("ls -l"));
        assert_eq!(command("!!ls"), Some("ls"));
        assert_eq!(command("!"), Some(""));
        assert_eq!(command("print !"), None);
    }

    #[test]
    fn streams_are_apart_and_the_status_counts() {
        let cancel = Cancel::default();
        let (out, err, result) = ran("echo one; echo two >&2; cat; printf '\\377'", &cancel);
        assert_eq!((out.as_str(), err.as_str()), ("one\n\u{fffd}", "two\n"));
        assert!(result.is_ok());
        assert!(matches!(ran("exit 3", &cancel).2, Err(Error::Shell(ShellError::Status(3)))));
        assert!(matches!(ran("kill -9 $$", &cancel).2, Err(Error::Shell(ShellError::Signal(9)))));
        assert!(ran("", &cancel).2.is_ok());
        // It has ended when its last process has closed its output.
        assert_eq!(ran("(sleep 0.2; echo late) &", &cancel).0, "late\n");
    }

    #[test]
    fn a_stop_ends_the_whole_group_whatever_it_listens_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        // One in the background, which hears no interrupt, and one that ignores it.
        let command = format!(
            "sleep 100 & echo $! > {0}; (trap '' INT; sleep 100) & echo $! >> {0}; echo up; wait",
            file.display()
        );
        let cancel = Cancel::default();
        let stop = cancel.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            stop.cancel();
        });
        let begun = Instant::now();
        let (out, _, result) = ran(&command, &cancel);
        assert_eq!(out, "up\n");
        assert!(matches!(result, Err(Error::Engine(tunebook_engine::Error::Cancelled))));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let pids = std::fs::read_to_string(file).unwrap();
        assert_eq!(pids.lines().count(), 2);
        // One that has just been killed may be there a moment longer.
        let lives =
            |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while pids.lines().any(lives) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{pids}");
            thread::sleep(POLL);
        }
    }
}
