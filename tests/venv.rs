//! Virtual environments of Python for tests against other people's programs. Each is made once below `target/`, which takes
//! python3 with its module venv, and a network, from which pip fetches what its list says.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// What a machine needs to run these tests.
const NEEDS: &str = "This test installs programs from pip into a virtual environment, which takes python3 with venv and, the \
                     first time, a network. `cargo test --release --workspace -- --skip NAME` leaves it out.";

/// The folder `name` below `target/`, an environment with what the file `requirements` lists. It is made anew when the list
/// changes, and by one process at a time.
pub(crate) fn venv(name: &str, requirements: &Path) -> PathBuf {
    let path = target().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lock = File::create(path.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read_to_string(requirements).unwrap();
    let done = path.join("requirements.txt");
    if fs::read_to_string(&done).ok().as_ref() != Some(&wanted) {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&path));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        succeed(Command::new(path.join("bin/python")).args(pip).arg(requirements));
        fs::write(done, wanted).unwrap();
    }
    path
}

/// The folder `target`.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_path_buf()
}

/// Runs a command that needs what this machine may lack.
pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}\n{NEEDS}"));
    assert!(output.status.success(), "{command:?}: {}\n{NEEDS}", String::from_utf8_lossy(&output.stderr));
}
