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

/// Variables that ranks get unless they are set already.
const BETTER: [(&str, &str); 4] = [
    // MPICH 5 adds up by way of memory that ranks of a machine share, in which one waits for the other without ever giving
    // up its core. With more ranks than idle cores that takes a thousand times as long: 8 s instead of 5 ms for 4 MB of 4
    // ranks on 2 cores. Its other way is as fast where there are cores.
    ("MPIR_CVAR_DEVICE_COLLECTIVES", "none"),
    // Intel MPI would pin the threads of a rank.
    ("I_MPI_PIN", "off"),
    // Open MPI, and UCX below it and below MPICH, would handle SIGBUS, which a program may have uses for.
    ("OMPI_MCA_opal_signal", ""),
    ("UCX_ERROR_SIGNALS", ""),
];

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
                // Its own variables it sends anyway.
                let better = BETTER.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("OMPI_"));
                for name in launch.env.iter().map(|(name, _)| *name).chain(better) {
                    command.args(["-x", name]);
                }
                if let Some(hosts) = launch.hosts {
                    command.arg("--host").arg(with_colons(hosts, launch.ranks));
                }
            }
            Kind::Hydra | Kind::Intel => {
                command.args(["-n", &ranks]);
                // All variables go to all machines, over Hydra's own connection.
                command.arg("-genvall");
                if self.kind() == Kind::Hydra {
                    command.args(["-bind-to", "none"]);
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
        command.envs(BETTER.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: Kind, hosts: Option<&str>) -> Result<String, LaunchError> {
        let launcher = Launcher::new(Path::new("/opt/bin/mpiexec").to_owned(), kind);
        let hosts: Option<Hosts> = hosts.map(|hosts| hosts.parse().unwrap());
        let launch = Launch {
            ranks: 6,
            hosts: hosts.as_ref(),
            env: &[("TOKEN", OsStr::new("secret"))],
            program: Path::new("/bin/tunebook"),
            arguments: &["worker".into(), "-n".into()],
        };
        let command = launcher.command(&launch)?;
        assert!(command.get_envs().any(|variable| variable == (OsStr::new("TOKEN"), Some(OsStr::new("secret")))));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        assert!(!line.contains("secret"));
        Ok(line)
    }

    #[test]
    fn each_launcher_has_its_own_options() {
        let local = |kind| line(kind, None).unwrap();
        let open_mpi = "/opt/bin/mpiexec --allow-run-as-root -n 6 --bind-to none --map-by :OVERSUBSCRIBE -x TOKEN \
                        -x MPIR_CVAR_DEVICE_COLLECTIVES -x I_MPI_PIN -x UCX_ERROR_SIGNALS";
        assert_eq!(local(Kind::OpenMpi), format!("{open_mpi} /bin/tunebook worker -n"));
        assert_eq!(local(Kind::Hydra), "/opt/bin/mpiexec -n 6 -genvall -bind-to none /bin/tunebook worker -n");
        assert_eq!(local(Kind::Intel), "/opt/bin/mpiexec -n 6 -genvall /bin/tunebook worker -n");
        let slurm = "/opt/bin/mpiexec --ntasks=6 --export=ALL --cpu-bind=none --kill-on-bad-exit=1 --overlap";
        assert_eq!(local(Kind::Slurm), format!("{slurm} /bin/tunebook worker -n"));
        assert_eq!(local(Kind::Unknown), "/opt/bin/mpiexec -n 6 /bin/tunebook worker -n");
    }

    #[test]
    fn each_launcher_is_told_the_hosts_in_its_own_way() {
        let there = |kind| line(kind, Some("a:2,b")).unwrap();
        assert!(there(Kind::OpenMpi).ends_with(" --host a:4,b:2 /bin/tunebook worker -n"));
        let hydra = " -hosts a:4,b:2 /bin/tunebook worker -n";
        assert!(there(Kind::Hydra).ends_with(hydra) && there(Kind::Intel).ends_with(hydra));
        let slurm = " --distribution=arbitrary --nodelist=a,a,a,a,b,b /bin/tunebook worker -n";
        assert!(there(Kind::Slurm).ends_with(slurm));
        assert_eq!(line(Kind::Unknown, Some("a")).unwrap_err().launcher, "/opt/bin/mpiexec");
    }
}
