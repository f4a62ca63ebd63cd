//! The `tunebook` binary, for tests that run it as a user does.

use std::path::PathBuf;
use std::process::Command;

/// Where Rust lies, for a process whose home is another one.
pub(crate) fn rust_homes() -> [(&'static str, PathBuf); 2] {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]
        .map(|(name, folder)| (name, std::env::var_os(name).map_or_else(|| home.join(folder), PathBuf::from)))
}

/// The binary.
pub(crate) fn tunebook() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunebook"));
    // Whatever the language of who runs the tests.
    command.env("LC_ALL", "C");
    command
}
