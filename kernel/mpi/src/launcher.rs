//! The program that starts ranks: `mpiexec`, `mpirun`, or Slurm's `srun`.

use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use thiserror::Error;

use crate::search::is_set;

/// A launcher on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    path: PathBuf,
    kind: Kind,
}

/// Whose options a launcher takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Open MPI's, 4 or 5, and what descends from it.
    OpenMpi,
    /// Hydra: that of MPICH and MVAPICH.
    Hydra,
    /// Intel's Hydra.
    Intel,
    /// `srun`.
    Slurm,
    /// Another one, of which only `-n` is known, as the standard has it.
    Unknown,
}

/// There is no launcher.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FindError {
    /// Neither `mpiexec` nor `mpirun` is on PATH.
    #[error("neither mpiexec nor mpirun is on PATH")]
    None,
    /// The named one is not there, or not a program.
    #[error("{0} is no program, neither as a path nor on PATH")]
    Named(String),
}

impl Launcher {
    /// The launcher that is named or whose path is given, or else the first that is found of `mpiexec`, `mpirun` and, in an
    /// allocation of Slurm's, `srun`.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: Option<&str>) -> Result<Self, FindError> {
        let path = match name {
            Some(name) => which::which(name).map_err(|_| FindError::Named(name.to_owned()))?,
            None => {
                let slurm = is_set("SLURM_JOB_ID").then_some("srun");
                let names = ["mpiexec", "mpirun"].into_iter().chain(slurm);
                names.filter_map(|name| which::which(name).ok()).next().ok_or(FindError::None)?
            }
        };
        let kind = kind(&path);
        Ok(Self::new(path, kind))
    }

    /// What lies at `path` and takes the options of `kind`.
    pub(crate) fn new(path: PathBuf, kind: Kind) -> Self {
        Self { path, kind }
    }

    /// The program, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose options it takes.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// A launcher tells by its version what it is; but `srun` tells nothing where it is not configured.
fn kind(path: &Path) -> Kind {
    if path.file_stem() == Some(OsStr::new("srun")) {
        return Kind::Slurm;
    }
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    output.map_or(Kind::Unknown, |output| Kind::of(&String::from_utf8_lossy(&output.stdout)))
}

impl Kind {
    /// By what a launcher answers to `--version`.
    fn of(version: &str) -> Self {
        let first = version.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        // Open MPI 4 says OpenRTE.
        let says = |words: &[&str]| words.iter().any(|word| first.contains(word));
        match () {
            () if says(&["Open MPI", "OpenRTE", "Spectrum MPI"]) => Self::OpenMpi,
            () if says(&["Intel(R) MPI"]) => Self::Intel,
            () if says(&["HYDRA"]) => Self::Hydra,
            () if first.starts_with("slurm ") => Self::Slurm,
            () => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_their_versions() {
        // As they answered: Open MPI 5.0.11 and 4.1.4, MPICH 5.0.2, Intel MPI 2021.18.1; and Slurm's form.
        let open_mpi_5 = "mpiexec (Open MPI) 5.0.11\n\nReport bugs to https://www.open-mpi.org/community/help/\n\n";
        let open_mpi_4 = "mpiexec.openmpi (OpenRTE) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n";
        let mpich = "HYDRA build details:\n    Version:                                 5.0.2\n    \
                     Release Date:                            Fri Sep 25 20:45:26 UTC 2026\n";
        let intel = "Intel(R) MPI Library for Linux* OS, Version 2021.18.1 Build 20260626 (id: b44796a)\n\
                     Copyright 2003-2026, Intel Corporation.\n";
        assert_eq!(Kind::of(open_mpi_5), Kind::OpenMpi);
        assert_eq!(Kind::of(open_mpi_4), Kind::OpenMpi);
        assert_eq!(Kind::of(mpich), Kind::Hydra);
        assert_eq!(Kind::of(intel), Kind::Intel);
        assert_eq!(Kind::of("slurm 22.05.8\n"), Kind::Slurm);
        assert_eq!(Kind::of("mpiexec 1.0\n"), Kind::Unknown);
        assert_eq!(Kind::of(""), Kind::Unknown);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Launcher::find(Some("no-such-launcher")).unwrap_err();
        assert_eq!(error.to_string(), "no-such-launcher is no program, neither as a path nor on PATH");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_is_taken_as_well() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, says: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            Launcher::find(Some(path.to_str().unwrap())).unwrap()
        };
        assert_eq!(program("mine", "HYDRA build details:").kind(), Kind::Hydra);
        assert_eq!(program("srun", "").kind(), Kind::Slurm);
        assert_eq!(program("other", "hello").path(), folder.path().join("other"));
        assert!(Launcher::find(Some(folder.path().to_str().unwrap())).is_err());
    }
}
