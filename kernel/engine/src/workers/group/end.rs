//! How a group of workers ends, wholly or in one worker, and what is known of why.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::LOOK;
use super::ProcessGroup;
use super::processes::end_group;
use super::processes::kill_worker;
use super::processes::signal_of;
use crate::error::Error;
use crate::workers::error::Loss;
use crate::workers::error::LossReason;
use crate::workers::error::WorkersError;
use crate::workers::host;

/// How long processes may take to end by themselves.
const END: Duration = Duration::from_secs(3);
/// How long a launcher may take to say why a worker has ended, and to end itself.
const REPORT: Duration = Duration::from_secs(8);

impl ProcessGroup {
    /// The loss of a worker, as far as is known.
    pub(super) fn lost(&mut self, rank: usize, why: LossReason) -> Error {
        let worker = Some((rank, self.members[rank].host.clone()));
        let silent = matches!(why, LossReason::Silent(_));
        // The launcher knows more, and says it as it ends.
        let deadline = Instant::now() + if silent { Duration::ZERO } else { REPORT };
        let mut status = None;
        while status.is_none() && Instant::now() < deadline {
            status = self.launcher.try_wait().ok().flatten();
            thread::sleep(LOOK);
        }
        thread::sleep(if silent { Duration::ZERO } else { LOOK });
        if let Some(signal) = status.and_then(signal_of) {
            return WorkersError::Lost(Loss { worker: None, why: LossReason::Signal(signal) }).into();
        }
        let told = told_signal(&self.said());
        let why = match (told, why) {
            (Some(signal), LossReason::Connection) => LossReason::Signal(signal),
            (_, why) => why,
        };
        WorkersError::Lost(Loss { worker, why }).into()
    }

    /// Ends all processes: as they can by themselves if `politely`, else at once.
    pub(in crate::workers) fn end(&mut self, politely: bool) {
        self.members.iter().for_each(|member| _ = member.stream.shutdown(std::net::Shutdown::Both));
        let deadline = Instant::now() + if politely { END } else { Duration::ZERO };
        while self.launcher.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        // One that was stopped does not hear that its connection has closed.
        let here = host();
        self.members.iter().filter(|member| member.host == here).for_each(|member| kill_worker(member.process));
        // The launcher ends those on other hosts.
        end_group(&mut self.launcher, END);
        _ = self.launcher.kill();
        _ = self.launcher.wait();
        self.members.clear();
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let politely = !self.members.is_empty();
        self.end(politely);
    }
}

/// The signal of which the launcher tells: `exited on signal 9 (Killed)` (Open MPI), `Killed (signal 9)` (MPICH).
fn told_signal(lines: &[String]) -> Option<i32> {
    let of_line = |line: &String| {
        let rest = line.to_ascii_lowercase();
        let digits = rest.split_once("signal")?.1;
        let digits: String =
            digits.chars().skip_while(|c| *c == ':' || *c == ' ').take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    lines.iter().find_map(of_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_launchers_say_of_a_killed_process_is_understood() {
        for (line, signal) in [
            ("mpirun noticed that process rank 1 with PID 0 on node a exited on signal 9 (Killed).", Some(9)),
            ("YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)", Some(9)),
            ("=   KILLED BY SIGNAL: 11 (Segmentation fault)", Some(11)),
            ("This typically refers to a problem with your application.", None),
        ] {
            assert_eq!(told_signal(&[line.to_string()]), signal, "{line}");
        }
    }
}
