//! The `tunebook` binary, for tests that run it as a user does.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where Rust lies, for a process whose home is another one.
pub fn rust_homes() -> [(&'static str, PathBuf); 2] {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]
        .map(|(name, folder)| (name, std::env::var_os(name).map_or_else(|| home.join(folder), PathBuf::from)))
}

/// The binary, built from the sources as they are: `cargo test` builds no binary for the tests of another crate.
pub fn tunebook() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        // target/release/deps/this-test
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
        let target = profile.parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "tunebook", "--target-dir"]).arg(target);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        profile.join(format!("tunebook{}", std::env::consts::EXE_SUFFIX))
    });
    let mut command = Command::new(path);
    // Whatever the language of who runs the tests.
    command.env("LC_ALL", "C");
    command
}
