//! The kernel under the real clients of Jupyter, in a virtual environment. The scripts that speak to the kernel are in
//! `jupyter/`.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::binary::rust_homes;
use crate::binary::tunebook;
use crate::fixtures::tests_folder;
use crate::venv::succeed;
use crate::venv::venv;

#[test]
fn jupyter_kernel_test_passes_with_every_sample() {
    run("conformance.py");
}

#[test]
fn the_protocol_is_kept_whatever_comes() {
    run("protocol.py");
}

#[test]
fn notebooks_and_consoles_run() {
    run("clients.py");
}

#[test]
fn a_training_in_the_background_is_talked_with() {
    run("live.py");
}

#[test]
fn rust_cells_drive_the_session() {
    run("rust_cells.py");
}

#[test]
fn a_panel_drives_the_session() {
    run("panel.py");
}

#[test]
fn what_cells_show_is_what_one_would_look_at() {
    run("displays.py");
}

#[test]
fn what_data_says_never_becomes_markup() {
    run("hostile.py");
}

fn run(script: &str) {
    let home = tempfile::tempdir().unwrap();
    let environment = environment();
    let output = Command::new(environment.join("bin/python"))
        .arg(folder().join(script))
        // Of the user's own Jupyter nothing is read or changed.
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", home.path().join("data"))
        .env("JUPYTER_DATA_DIR", home.path().join("jupyter"))
        .env("JUPYTER_RUNTIME_DIR", home.path().join("runtime"))
        .env("JUPYTER_CONFIG_DIR", home.path().join("config"))
        .env("JUPYTER_PLATFORM_DIRS", "1")
        .env("TUNEBOOK", tunebook().get_program())
        // But Rust cells need Rust.
        .envs(rust_homes())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}:\n{said}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(!said.contains("skipped="), "{script}:\n{said}");
}

/// The folder of a virtual environment with what `requirements.txt` lists and the kernel in it.
fn environment() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = venv("jupyter-tests", &folder().join("requirements.txt"));
        succeed(tunebook().args(["kernel", "install", "--prefix"]).arg(&path));
        path
    })
}

fn folder() -> PathBuf {
    tests_folder().join("jupyter")
}
