//! A program that is ended from outside keeps what it has trained; one whose output nobody reads any more trains on.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use crate::binary::tunebook;
use crate::fixtures::fixture;

/// Trains for a long time and writes no checkpoint by itself; `output` is an `output_dir=`.
fn script(output: &str, epochs: usize) -> String {
    format!(
        "load tiny\nset dataset_dir=train cutoff_len=512 batch=2 accum=2 {output} num_train_epochs={epochs}\n\
         set learning_rate=1e-3 save_steps=1000000 logging_steps=1 lora_dropout=0.1 memory=1\n\
         data creatures\nlora\ntrain\n"
    )
}

/// With a data folder of its own.
fn command(home: &Path) -> Command {
    let mut command = tunebook();
    command.current_dir(fixture("")).env("XDG_DATA_HOME", home);
    command
}

/// Starts a session that carries out `script` from a pipe.
fn start(home: &Path, script: &str) -> Child {
    let mut child = command(home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child
}

/// The same with an input that stays open: there may be more lines, for which it waits.
fn begin(home: &Path, script: &str) -> (Child, ChildStdin) {
    let mut child = command(home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    (child, input)
}

/// Waits until it has logged so many steps.
fn wait_for_log(child: &mut Child, output: &Path, steps: usize) {
    while !output.join("trainer_log.jsonl").exists() || losses(output).len() < steps {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Reads what it writes up to the line of step `step`.
fn wait_for_step(child: &mut Child, step: usize) {
    let output = child.stdout.as_mut().unwrap();
    let is_it = |line: std::io::Result<String>| {
        line.unwrap().trim_start_matches("step").trim_start().starts_with(&format!("{step}/"))
    };
    assert!(BufReader::new(output).lines().any(is_it), "it has ended before step {step}");
}

fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
fn code(status: ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|signal| -signal))
}

/// Whether the tests were started with a signal ignored, which what they start inherits.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.is_some_and(|ignored| ignored & (1u64 << (signal - 1)) != 0)
}

/// The steps of a log, with their losses as they are written.
fn losses(folder: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(folder.join("trainer_log.jsonl")).unwrap();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        (line["current_steps"].as_u64().unwrap(), line["loss"].to_string())
    };
    text.lines().map(line).collect()
}

fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("checkpoint-")).collect()
}

/// How many hidden files a folder has.
fn hidden(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with('.')).count()
}

#[cfg(unix)]
#[test]
fn a_training_that_is_ended_by_a_signal_goes_on_from_where_it_was() {
    let place = tempfile::tempdir().unwrap();
    // Under nohup, the program goes on as well.
    let signals = [("-TERM", 15), ("-HUP", 1), ("-USR1", 10)];
    for (signal, number) in signals.into_iter().filter(|(_, number)| !is_ignored(*number)) {
        let output = place.path().join(signal);
        let mut child = start(place.path(), &script(&format!("output_dir={}", output.display()), 100000));
        wait_for_step(&mut child, 5);
        send(&child, signal);
        // A terminal that is closed sends one, and its shell another.
        send(&child, signal);
        let ended = child.wait_with_output().unwrap();
        assert_eq!(code(ended.status), Some(128 + number), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(checkpoints(&output).len(), 1, "{signal}");
        assert_eq!(hidden(&output), 0, "{signal}: the lock goes with the session");

        // It goes on, and what it logs is what a training logs that nobody has ended.
        let step = losses(&output).len();
        let more = format!("load tiny\nresume {} memory=1\ntrain 3\n", output.display());
        let whole = place.path().join(format!("{signal}-whole"));
        let all = script(&format!("output_dir={}", whole.display()), 100000)
            .replace("train\n", &format!("train {}\n", step + 3));
        for script in [more, all] {
            let ended = start(place.path(), &script).wait_with_output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        assert_eq!(losses(&output), losses(&whole), "{signal} after {step} steps");
        assert_eq!(hidden(&output) + hidden(&whole), 0, "{signal}");
    }
    assert!(!place.path().join("tunebook/recovery").exists(), "all of it is in output_dir");
}

#[cfg(unix)]
#[test]
fn so_does_one_in_the_background() {
    let place = tempfile::tempdir().unwrap();
    for (signal, number) in [("-TERM", 15), ("-HUP", 1)].into_iter().filter(|(_, number)| !is_ignored(*number)) {
        let output = place.path().join(signal);
        let script =
            script(&format!("output_dir={}", output.display()), 100000).replace("train\n", "train &\nstatus\n");
        let (mut child, _input) = begin(place.path(), &script);
        wait_for_log(&mut child, &output, 5);
        send(&child, signal);
        assert_eq!(code(child.wait().unwrap()), Some(128 + number), "{signal}");
        let step = losses(&output).len();
        assert!(
            output.join(format!("checkpoint-{step}/optimizer.safetensors")).is_file(),
            "{signal} after step {step}"
        );
        assert_eq!(hidden(&output), 0, "{signal}: the lock goes with the session");
    }
    // At the end of its lines a script waits for the training, and says how it ended.
    let output = place.path().join("whole");
    let script = script(&format!("output_dir={}", output.display()), 2).replace("train\n", "train &\n");
    let ended = start(place.path(), &script).wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success() && told.contains("finished at step 12 of 12"), "{told}");
    // Nobody reads what it answers: it ends, and keeps what was trained.
    let output = place.path().join("unread");
    let script = self::script(&format!("output_dir={}", output.display()), 100000).replace("train\n", "train &\n");
    let (mut child, mut input) = begin(place.path(), &script);
    wait_for_log(&mut child, &output, 5);
    drop(child.stdout.take());
    input.write_all("help\n".repeat(1000).as_bytes()).unwrap();
    drop(input);
    assert_eq!(code(child.wait().unwrap()), Some(141));
    assert_eq!(checkpoints(&output).len(), 1);
}

#[cfg(unix)]
#[test]
fn without_an_output_dir_it_is_kept_among_the_users_data_and_the_next_session_names_it() {
    // Ctrl-C ends a script as well.
    for (signal, status) in [("-TERM", 143), ("-INT", 130)] {
        let home = tempfile::tempdir().unwrap();
        without_an_output_dir_it_is_kept(home.path(), signal, status);
    }
}

fn without_an_output_dir_it_is_kept(home: &Path, signal: &str, status: i32) {
    let mut child = start(home, &script("", 100000));
    wait_for_step(&mut child, 3);
    send(&child, signal);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(code(ended.status), Some(status));
    let recovery = home.join("tunebook/recovery");
    let [folder] = &fs::read_dir(&recovery).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>()[..] else {
        panic!("one training in {}", recovery.display());
    };
    let [checkpoint] = &checkpoints(folder)[..] else { panic!("one checkpoint in {}", folder.display()) };
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains(&checkpoint.display().to_string()), "{told}");

    let next = start(home, "status\n").wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&next.stdout).into_owned();
    assert!(told.contains(&checkpoint.display().to_string()), "{told}");
    let script = format!("load tiny\nresume {}\ntrain 1\n", checkpoint.display());
    assert!(start(home, &script).wait_with_output().unwrap().status.success());
}

#[cfg(unix)]
#[test]
fn a_recipe_that_is_ended_goes_on_when_it_is_started_again() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("out");
    let recipe = || {
        let mut command = command(place.path());
        command.args(["train", "train/cosine/recipe.yaml", "overwrite_output_dir=false", "save_steps=100000"]);
        command.args(["logging_steps=1", "memory=1"]).arg(format!("output_dir={}", output.display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut child = recipe().arg("num_train_epochs=100000").spawn().unwrap();
    wait_for_step(&mut child, 4);
    send(&child, "-TERM");
    assert_eq!(code(child.wait_with_output().unwrap().status), Some(143));
    let [checkpoint] = &checkpoints(&output)[..] else { panic!("one checkpoint in {}", output.display()) };
    let again = recipe().arg("max_steps=2").output().unwrap();
    let told = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(told.contains(&format!("resuming from {}", checkpoint.display())), "{told}");
}

#[test]
fn a_training_goes_on_when_nobody_reads_its_output() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("out");
    let mut child = start(place.path(), &script(&format!("output_dir={}", output.display()), 20));
    wait_for_step(&mut child, 1);
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    assert_eq!(losses(&output).len(), 120);
    assert!(output.join("adapter_model.safetensors").exists());
    assert!(status.success() || status.code() == Some(141), "{status}");
    // A question whose answer nobody reads is given up.
    let mut child = start(place.path(), &"help\n".repeat(100));
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(141));
}
