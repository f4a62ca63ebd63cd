//! The command that starts a program as so many ranks. All launchers start the same program with the same arguments and
//! environment, give its output on, and bind no rank to a part of the machine's cores: a rank has threads of its own.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use thiserror::Error;

use crate::hosts::Hosts;
use crate::launcher::Kind;
use crate::launcher::Launcher;

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// How many ranks, at least 1; more than there are cores, if need be.
    pub ranks: usize,
    /// On which machines, instead of this one, or of those that a batch system gave.
    pub hosts: Option<&'a Hosts>,
    /// Variables that the ranks have beside this process's own, on all machines. They are not on the command line, where
    /// every user of the machine would see them.
    pub env: &'a [(&'a str, &'a OsStr)],
    /// What is called instead of `ssh` to reach the machines: with a machine's name and a command.
    pub remote_shell: Option<&'a Path>,
    /// The program, at the same path on all machines.
    pub program: &'a Path,
    pub arguments: &'a [OsString],
}

/// A launcher that is not known cannot be told what it should do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{launcher} is no launcher of Open MPI, MPICH, Intel MPI or Slurm, so that it cannot be told on which hosts to start"
)]
pub struct LaunchError {
    pub launcher: String,
}

impl Launcher {
    /// The command that starts `launch`, without input: a launcher would give it to rank 0 only.
    ///
    /// # Errors
    /// Hosts are given, and the launcher is of no known kind.
    pub fn command(&self, launch: &Launch) -> Result<Command, LaunchError> {
        let mut command = Command::new(self.path());
        let ranks = launch.ranks.to_string();
        match self.kind() {
            Kind::OpenMpi => {
                // Who is root is asked nothing here: in a container, everybody is.
                command.args(["--allow-run-as-root", "-n", &ranks, "--bind-to", "none"]);
                command.args(["--map-by", ":OVERSUBSCRIBE"]);
                for (name, _) in launch.env {
                    command.args(["-x", name]);
                }
                if let Some(shell) = launch.remote_shell {
                    command.args(["--mca", "plm_rsh_agent"]).arg(shell);
                }
                if let Some(hosts) = launch.hosts {
                    command.arg("--host").arg(with_colons(hosts, launch.ranks));
                }
            }
            Kind::Hydra | Kind::Intel => {
                command.args(["-n", &ranks]);
                // All variables go to all machines, over Hydra's own connection.
                command.arg("-genvall");
                if self.kind() == Kind::Intel {
                    command.env("I_MPI_PIN", "off");
                } else {
                    command.args(["-bind-to", "none"]);
                }
                if let Some(shell) = launch.remote_shell {
                    command.args(["-launcher", "ssh", "-launcher-exec"]).arg(shell);
                }
                if let Some(hosts) = launch.hosts {
                    command.arg("-hosts").arg(with_colons(hosts, launch.ranks));
                }
            }
            Kind::Slurm => {
                command.arg(format!("--ntasks={ranks}"));
                command.args(["--export=ALL", "--cpu-bind=none", "--kill-on-bad-exit=1"]);
                // This process may itself be a step of the allocation that the ranks are to share.
                command.arg("--overlap");
                if let Some(hosts) = launch.hosts {
                    command
                        .arg("--distribution=arbitrary")
                        .arg(format!("--nodelist={}", repeated(hosts, launch.ranks)));
                }
            }
            Kind::Unknown => {
                if launch.hosts.is_some() {
                    return Err(LaunchError { launcher: self.path().display().to_string() });
                }
                command.args(["-n", &ranks]);
            }
        }
        command.arg(launch.program).args(launch.arguments);
        command.envs(launch.env.iter().copied());
        command.stdin(Stdio::null());
        Ok(command)
    }
}

/// `a:4,b:2`
fn with_colons(hosts: &Hosts, ranks: usize) -> String {
    let shares = hosts.share_out(ranks).into_iter();
    shares.map(|(name, ranks)| format!("{name}:{ranks}")).collect::<Vec<_>>().join(",")
}

/// `a,a,a,a,b,b`: a name for each rank.
fn repeated(hosts: &Hosts, ranks: usize) -> String {
    let shares = hosts.share_out(ranks).into_iter();
    shares.flat_map(|(name, ranks)| std::iter::repeat_n(name, ranks)).collect::<Vec<_>>().join(",")
}
