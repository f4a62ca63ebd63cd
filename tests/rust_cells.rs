//! Rust among the commands of a pipe, and where there is no Rust. Notebooks' cells are in `jupyter/rust_cells.py`.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use crate::binary::rust_homes;
use crate::binary::tunebook;
use crate::fixtures::fixture;

/// A session in a home of its own, so that the client is written anew, without the network.
fn session(home: &Path) -> Command {
    let mut command = tunebook();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(home);
    command.env("HOME", home).env("XDG_CACHE_HOME", home.join("cache")).envs(rust_homes());
    let temporary = home.join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    command.env("CARGO_NET_OFFLINE", "true").env("TMPDIR", temporary);
    command
}

/// Runs lines to their end, after which nothing is left of Rust but the client.
fn pipe(lines: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = session(home.path());
    prepare(&mut command);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(temporary(home.path()), Vec::<String>::new());
    output
}

/// What is in the folder for temporary files.
fn temporary(home: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(home.join("tmp")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Starts a session with a line of Rust, and waits until it has shown `answer`.
fn running(home: &Path, line: &str, answer: &str) -> Child {
    let mut child = session(home).stderr(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == answer), "{answer}");
    child
}

#[test]
fn what_rust_has_compiled_goes_with_the_session_or_when_the_next_one_begins() {
    let home = tempfile::tempdir().unwrap();
    let mut killed = running(home.path(), "rust 20 + 22", "42");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = temporary(home.path());
    assert_eq!(left.len(), 1, "{left:?}");

    // A cell that would go on for ever ends with its session.
    let mut ended = running(home.path(), "rust { println!(\"on\"); loop {} }", "on");
    let of_this = temporary(home.path());
    assert!(of_this.len() == 1 && of_this != left, "{left:?}, then {of_this:?}");
    assert!(Command::new("kill").arg(ended.id().to_string()).status().unwrap().success());
    assert_eq!(ended.wait().unwrap().code(), Some(143));
    assert_eq!(temporary(home.path()), Vec::<String>::new());
}

#[test]
fn rust_runs_between_the_commands_of_a_pipe() {
    let (model, data) = (fixture("tiny"), fixture("train"));
    let lines = format!(
        "load {}\ndata creatures dataset_dir={} val_size=6\nlora rank=4\nset batch=2 accum=1 epochs=10 max_new_tokens=4\n\
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
         rust session().predict()?.predictions.len()\n\
         rust session().train(1000)?.is_finished\n\
         rust session().train(1)?;\n\
         print never\n",
        model.display(),
        data.display()
    );
    let output = pipe(&lines, |_| {});
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("\n3\nbetween\ntrue\n6\n"), "{out}\n{err}");
    assert!(out.ends_with("\ntrue\n"), "{out}\n{err}");
    assert!(err.contains("error: stdin:18: all "), "{err}");
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
fn a_file_given_to_the_program_may_have_rust_and_one_that_it_runs_may_not() {
    let place = tempfile::tempdir().unwrap();
    let run = |text: &str| {
        let file = place.path().join("a.tune");
        std::fs::write(&file, text).unwrap();
        let output = tunebook().arg("run").arg(&file).envs(rust_homes()).output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    for text in ["rust 1\n", "%%rust\n1\n"] {
        let inner = place.path().join("b.tune");
        std::fs::write(&inner, text).unwrap();
        let [_, err] = run(&format!("run {}", inner.display()));
        assert!(err.contains("b.tune:1: Rust can be run at the prompt"), "{err}");
    }
    let [out, err] = run("%%rust\n20 +\n22\n\nprint after\n");
    assert!(out.ends_with("42\nafter\n"), "{out}\n{err}");
}
