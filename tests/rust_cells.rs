//! Rust among the commands of a pipe, and where there is no Rust. Notebooks' cells are in `jupyter/rust_cells.py`.

use std::io::Write;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use crate::binary::rust_homes;
use crate::binary::tunebook;
use crate::fixtures::fixture;

/// Runs lines in a home of their own, so that the client is written anew, without the network.
fn pipe(lines: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = tunebook();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(home.path());
    command.env("HOME", home.path()).env("XDG_CACHE_HOME", home.path().join("cache")).envs(rust_homes());
    command.env("CARGO_NET_OFFLINE", "true");
    prepare(&mut command);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn rust_runs_between_the_commands_of_a_pipe() {
    let (model, data) = (fixture("tiny"), fixture("train"));
    let lines = format!(
        "load {}\ndata creatures dataset_dir={}\nlora rank=4\nset batch=2 accum=1 epochs=10\n\
         rust let mut losses: Vec<f32> = Vec::new();\n\
         %%rust\n\
         while session().step() < 6 {{\n\
             let made = session().train(2)?;\n\
         \n\
             losses.push(made.loss);\n\
         }}\n\
         losses.len()\n\
         \n\
         print between\n\
         rust losses.iter().all(|loss| *loss > 0.0)\n\
         rust session().train(1000)?.is_finished\n\
         rust session().train(1)?;\n\
         print never\n",
        model.display(),
        data.display()
    );
    let output = pipe(&lines, |_| {});
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("\n3\nbetween\ntrue\n"), "{out}\n{err}");
    assert!(out.ends_with("\ntrue\n"), "{out}\n{err}");
    assert!(err.contains("error: stdin:17: all "), "{err}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn without_rust_the_commands_go_on() {
    let empty = tempfile::tempdir().unwrap();
    let output = pipe("print before\nrust 1 + 1\n", |command| {
        command.env("PATH", empty.path());
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out, "before\n");
    assert!(err.contains("error: stdin:2: Rust cells need cargo, rustc, cc, which cannot be found"), "{err}");
    assert!(err.contains("rustup"), "{err}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_file_that_run_reads_has_no_rust() {
    let place = tempfile::tempdir().unwrap();
    for text in ["rust 1\n", "%%rust\n1\n"] {
        let file = place.path().join("a.tune");
        std::fs::write(&file, text).unwrap();
        let output = tunebook().arg("run").arg(&file).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains("a.tune:1: Rust runs at the prompt"), "{err}");
    }
}
