//! What is named where a file should be and is none, and numbers that ask for more memory than there is: each is answered at
//! once, and a stop is heard.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use crate::binary::tunebook;
use crate::fixtures::fixture;

/// The binary with a limit of time; what runs longer ends with status 124.
fn limited() -> Command {
    let tunebook = tunebook();
    let mut command = Command::new("timeout");
    command.arg("60").arg(tunebook.get_program()).env("LC_ALL", "C").stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(mut command: Command, script: &str) -> Child {
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child
}

fn run(script: &str) -> Output {
    start(limited(), script).wait_with_output().unwrap()
}

/// `script` ends with an error that holds all of `parts`.
fn refuses(script: &str, parts: &[&str]) {
    let output = run(script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{script}: {said}");
    for part in parts {
        assert!(said.contains(part), "`{script}` says `{said}`, which does not name `{part}`");
    }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A copy of the tiny checkpoint in which `name` is something else.
fn tiny_without(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture("tiny")).unwrap().flatten().filter(|file| file.file_name() != name) {
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

fn write_info(folder: &Path, entry: &Value) {
    fs::write(folder.join("dataset_info.json"), json!({"set": entry}).to_string()).unwrap();
}

#[test]
fn pipes_and_devices_are_no_files() {
    let load = format!("load {}\n", fixture("tiny").display());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    for name in ["a.png", "a.json", "a.csv", "a.parquet", "a.yaml", "a.tune", "adapter_config.json"] {
        make_pipe(&folder.path().join(name));
    }
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.jsonl")).unwrap();
    let pipe = "it is a pipe";
    refuses(&format!("{load}chat max_new_tokens=1 image={place}/a.png What?\n"), &["a.png", pipe]);
    refuses(&format!("run {place}/a.tune\n"), &["a.tune", pipe]);
    refuses(&format!("recipe load {place}/a.yaml\n"), &["a.yaml", pipe]);
    refuses(&format!("{load}adapter load {place}\n"), &["adapter_config.json"]);
    for (name, found) in [("a.json", pipe), ("a.csv", pipe), ("a.parquet", pipe), ("zero.jsonl", "it is a device")] {
        write_info(folder.path(), &json!({"file_name": name}));
        refuses(&format!("{load}data set dataset_dir={place}\n"), &[name, found]);
    }
    fs::remove_file(folder.path().join("dataset_info.json")).unwrap();
    make_pipe(&folder.path().join("dataset_info.json"));
    refuses(&format!("{load}data set dataset_dir={place}\n"), &["dataset_info.json", pipe]);
}

#[test]
fn a_model_is_made_of_files() {
    for name in ["config.json", "generation_config.json", "model-00002-of-00002.safetensors"] {
        let folder = tiny_without(name);
        make_pipe(&folder.path().join(name));
        refuses(&format!("load {}\n", folder.path().display()), &[name, "it is a pipe"]);
    }
    for name in ["tokenizer.json", "preprocessor_config.json"] {
        let folder = tiny_without(name);
        make_pipe(&folder.path().join(name));
        refuses(&format!("load {}\n", folder.path().display()), &[name]);
    }
}

#[test]
fn what_the_program_is_called_with_may_be_a_pipe() {
    let program = tunebook().get_program().to_owned();
    let bash = |line: &str| Command::new("bash").args(["-c", line]).env("TB", &program).env("LC_ALL", "C").output();
    for line in ["$TB run <(echo print hello)", "echo print hello | $TB run /dev/stdin"] {
        let output = bash(line).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"hello\n"[..]), "{line}: {output:?}");
    }
    let output = bash("$TB train <(echo do_train: true)").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("model_name_or_path"), "{said}");
}

/// Ends with the status of a program that Ctrl-C ended.
fn ends_by_ctrl_c(child: Child) {
    // `timeout` passes it on.
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
}

#[test]
fn ctrl_c_ends_the_wait_for_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    make_pipe(&pipe);
    for verb in ["run", "train"] {
        let mut command = limited();
        command.arg(verb).arg(&pipe);
        let child = start(command, "");
        std::thread::sleep(std::time::Duration::from_secs(1));
        ends_by_ctrl_c(child);
    }
}

#[test]
fn ctrl_c_stops_the_iterations_of_pissa() {
    let model = fixture("tiny");
    let set = format!("set pissa_init=true pissa_iter={}", i64::MAX);
    let mut child = start(limited(), &format!("load {}\n{set}\nprint ready\nlora\n", model.display()));
    let output = child.stdout.as_mut().unwrap();
    assert!(BufReader::new(output).lines().any(|line| line.unwrap() == "ready"));
    std::thread::sleep(std::time::Duration::from_millis(500));
    ends_by_ctrl_c(child);
}

#[test]
fn no_picture_is_enlarged_without_end() {
    let picture = fixture("pictures/wide.png");
    for pixels in ["1000000000000", "9000000000000000000"] {
        let (model, picture) = (fixture("tiny"), picture.display());
        let set = format!("load {}\nset image_min_pixels={pixels} image_max_pixels={pixels}", model.display());
        let script = format!("{set}\nchat max_new_tokens=1 image={picture} What?\n");
        refuses(&script, &["wide.png", "lower image_min_pixels"]);
    }
}

#[test]
fn no_record_is_repeated_without_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("set.jsonl"), r#"{"instruction": "a", "output": "b"}"#).unwrap();
    write_info(folder.path(), &json!({"file_name": "set.jsonl", "num_samples": 100_000_000}));
    let data = format!("data set dataset_dir={}", folder.path().display());
    refuses(&format!("load {}\n{data}\n", fixture("tiny").display()), &["`set`", "num_samples: 100000000"]);
}

#[test]
fn an_image_processor_of_another_model_is_refused() {
    const NAME: &str = "preprocessor_config.json";
    for (key, value) in [("patch_size", 1_u64 << 31), ("merge_size", 2000), ("temporal_patch_size", 1 << 20)] {
        let folder = tiny_without(NAME);
        let text = fs::read_to_string(fixture("tiny").join(NAME)).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config[key] = json!(value);
        fs::write(folder.path().join(NAME), config.to_string()).unwrap();
        refuses(&format!("load {}\n", folder.path().display()), &[key, &value.to_string(), "config.json"]);
    }
}

/// As on a full disk.
#[test]
fn a_file_beyond_the_limit_of_its_size_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    let script = format!("load {}\nlora rank=64\nsave {}\n", fixture("tiny").display(), adapter.display());
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -f 64; exec timeout 60 \"$TB\""])
        .env("TB", tunebook().get_program())
        .env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = start(command, &script).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("cannot write") && said.contains("File too large"), "{said}");
    let left = fs::read_dir(folder.path()).unwrap().flatten().flat_map(|entry| fs::read_dir(entry.path()).unwrap());
    assert_eq!(left.count(), 0, "nothing is left");
}
