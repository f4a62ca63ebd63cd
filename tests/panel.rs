//! The control panel's page: that the committed one is what its source makes, and that it does what it says, in a browser and
//! with the program itself. The tests in TypeScript are in `kernel/panel/web/test`.
//!
//! They take npm, which fetches what the page is made with the first time, and those with a browser Chromium. Where these
//! are missing or nothing can be fetched, a test says so and has looked at nothing.

use std::env;
use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::binary::tunebook;
use crate::fixtures::tests_folder;
use crate::venv::succeed;
use crate::venv::target;
use crate::venv::venv;

#[test]
fn the_committed_page_is_what_its_source_makes() {
    let Some(web) = web() else { return };
    let made = tempfile::tempdir().unwrap();
    npm(&web, &["run", "build", "--", made.path().to_str().unwrap()]);
    for name in ["index.html", "panel.css", "panel.js"] {
        let read = |folder: &Path| fs::read_to_string(folder.join(name)).unwrap();
        let is_same = read(made.path()) == read(&web.parent().unwrap().join("dist"));
        assert!(is_same, "{name} is another one: run `npm run build` in kernel/panel/web and commit kernel/panel/dist");
    }
}

#[test]
fn what_the_page_computes_is_right() {
    let Some(web) = web() else { return };
    npm(&web, &["run", "check"]);
    npm(&web, &["run", "unit"]);
}

/// All that is done by clicks, and then once more by the script that the page makes of it.
#[test]
fn the_tutorial_by_clicks_is_a_script_with_the_same_bits() {
    in_a_browser(&["run", "real", "--", "tutorial"], None);
}

/// In JupyterLab too, which takes some minutes: the same, reloads and restarts, and whatever is hostile. Run with
/// `cargo test --release -p tunebook --test integration panel -- --ignored`.
#[test]
#[ignore = "it takes minutes"]
fn panels_in_jupyterlab_and_in_a_browser() {
    let lab = venv("panel-tests", &tests_folder().join("panel/requirements.txt"));
    succeed(tunebook().args(["kernel", "install", "--prefix"]).arg(&lab));
    in_a_browser(&["run", "real"], Some(&lab));
}

/// The page against a session that is made up, in a minute or two; run as the one above.
#[test]
#[ignore = "it takes minutes"]
fn the_page_shows_and_sends_what_it_should() {
    in_a_browser(&["run", "pages"], None);
}

fn in_a_browser(arguments: &[&str], lab: Option<&Path>) {
    let Some(web) = web() else { return };
    let named = env::var_os("CHROMIUM").map(PathBuf::from);
    let Some(chromium) = named.or_else(|| ["chromium", "google-chrome"].into_iter().find_map(on_path)) else {
        println!("There is no `chromium` on PATH: the page was not looked at.");
        return;
    };
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(web).env("CHROMIUM", chromium).env("TUNEBOOK", tunebook().get_program());
    if let Some(lab) = lab {
        command.env("LAB", lab);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The folder of the page, with the packages that it is made with.
fn web() -> Option<PathBuf> {
    if on_path("npm").is_none() {
        println!("There is no `npm` on PATH: the page was not looked at.");
        return None;
    }
    let web = tests_folder().parent().unwrap().join("kernel/panel/web");
    let done = target().join("panel-npm");
    let lock = File::create(done.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read_to_string(web.join("package-lock.json")).unwrap();
    if fs::read_to_string(&done).ok().as_ref() != Some(&wanted) || !web.join("node_modules").exists() {
        let fetched = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&web).output().unwrap();
        if !fetched.status.success() {
            println!("npm fetched nothing: {}", String::from_utf8_lossy(&fetched.stderr));
            return None;
        }
        fs::write(done, wanted).unwrap();
    }
    Some(web)
}

fn npm(folder: &Path, arguments: &[&str]) {
    succeed(Command::new("npm").args(arguments).current_dir(folder));
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|program| program.is_file())
}
