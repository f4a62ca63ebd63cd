//! `pip install tunebook`: the wheel, made of the program that is tested, in environments of its own. What is looked at there
//! is in `wheel/`.

use std::path::Path;
use std::process::Command;

use crate::binary::tunebook;
use crate::fixtures::tests_folder;
use crate::venv::succeed;
use crate::venv::target;
use crate::venv::venv;

#[test]
fn the_wheel_brings_program_and_kernel_and_takes_them_away() {
    let [home, out, built] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let environment = venv("wheel-tests", &tests_folder().join("wheel/requirements.txt"));
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("pyproject.toml");
    // What it is linked from is there already, with the same features, so that little is compiled. The program itself goes
    // elsewhere: replaced, it would be missing for a moment, to the other tests that start it.
    let mut build = Command::new(environment.join("bin/maturin"));
    build.args(["build", "--release", "--offline", "--compatibility", "linux", "--target-dir"]).arg(built.path());
    build.env("CARGO_BUILD_BUILD_DIR", target());
    build.arg("--manifest-path").arg(project.with_file_name("Cargo.toml")).arg("--out").arg(out.path());
    // What cargo has set for this test would have a library's build script run again.
    let of_this_test = |name: &str| name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_");
    let set = std::env::vars_os().map(|(name, _)| name);
    set.filter(|name| name.to_str().is_some_and(of_this_test)).for_each(|name| _ = build.env_remove(name));
    succeed(&mut build);
    let wheel = out.path().read_dir().unwrap().next().unwrap().unwrap().path();
    let output = Command::new(environment.join("bin/python"))
        .arg(tests_folder().join("wheel/wheel.py"))
        .arg(wheel)
        // Of the user's own Jupyter nothing is read or changed.
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", home.path())
        .env("XDG_CACHE_HOME", home.path().join("cache"))
        .env("XDG_DATA_HOME", home.path().join("data"))
        .env("JUPYTER_DATA_DIR", home.path().join("jupyter"))
        .env("JUPYTER_RUNTIME_DIR", home.path().join("runtime"))
        .env("JUPYTER_CONFIG_DIR", home.path().join("config"))
        .env("JUPYTER_PLATFORM_DIRS", "1")
        .env("TUNEBOOK", tunebook().get_program())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
}
