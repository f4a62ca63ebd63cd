//! Every example of every verb's help is carried out in both languages, as a user would type it: it does not fail, and in
//! Chinese nothing is said in English.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::mpi::implementations;

/// What stands before each verb's examples.
const BEFORE: &str = "load models/Qwen2.5-VL-3B-Instruct\n\
                      data creatures cutoff_len=512 val_size=0.2\n\
                      lora\n\
                      set max_new_tokens=3 logging_steps=1\n\
                      train 1\n";
/// What is English in every language: the prompt of the model, and PEFT's line.
const ENGLISH: [&str; 2] = ["You are a helpful assistant.", "trainable params:"];

#[test]
#[cfg(unix)]
fn every_example_works_in_both_languages() {
    for (locale, is_chinese) in [("C", false), ("zh_CN.UTF-8", true)] {
        let place = workplace();
        for verb in tunebook_commands::verbs() {
            // Somebody must sit at a prompt for a conversation, Rust takes its time, and nothing is sent to a real hub.
            // A script with a page goes on until it is interrupted, and llama.cpp may not be there.
            let is_left_out = |name: &str| ["panel", "rust"].contains(&name);
            let needs_others = |line: &str| ["yes=true", "check="].iter().any(|option| line.contains(option));
            let is_run = |line: &&str| *line != "chat" && !is_left_out(verb.name) && !needs_others(line);
            let examples = verb.examples.iter().map(|(line, _)| *line).filter(is_run);
            let further = match verb.name {
                "resume" => "set output_dir=saves/creatures\n",
                "save" => "set output_dir=saves/fresh\n",
                "undo" => "train 6\n",
                "redo" => "undo\n",
                "blend" => "adapter load saves/creatures as old\n",
                _ => "",
            };
            let script = format!("{BEFORE}{further}")
                + &examples.collect::<Vec<_>>().join("\n")
                + &format!("\nhelp {}", verb.name);
            let (status, out, err) = run(place.path(), locale, &script);
            assert!(status == 0 && err.is_empty(), "{} in {locale}: {err}\n{out}", verb.name);
            // From there on it is English.
            let said = if verb.name == "lang" { out.split("English").next().unwrap_or_default() } else { &out };
            let is_example = |line: &str| verb.examples.iter().any(|(example, _)| *example == line.trim());
            // Labels are the data's.
            let is_data =
                |line: &str| verb.name == "worst" && line.starts_with(|c: char| c == ' ' || c.is_ascii_digit());
            for line in said.lines().filter(|line| is_chinese && !is_example(line) && !is_data(line)) {
                assert!(!is_english(line), "`{}` says in Chinese: {line}\n{out}", verb.name);
            }
            assert_eq!(is_chinese, said.contains("样本用于训练"), "{said}");
        }
    }
}

#[test]
fn errors_are_said_in_both_languages() {
    for (line, en, zh) in [
        ("trian", "there is no command `trian` (did you mean `train`?)", "没有命令 `trian`（是不是想写 `train`？）"),
        ("set rank=0", "which accepts an integer from 1 to 1024", "可取整数，从 1 到 1024"),
        ("train 5", "no model is loaded; load one first", "还没有加载模型；请先加载"),
        ("sample x y", "does not accept `y`; usage: sample", "不接受 `y`；用法：sample"),
        ("data x dataset_dir=nowhere", "no model is loaded", "还没有加载模型"),
        ("load nowhere", "there is no folder nowhere", "没有文件夹 nowhere"),
        ("run nowhere.tune", "cannot read nowhere.tune: No such file", "无法读取 nowhere.tune：没有这个文件或文件夹"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (status, _, err) = run(place.path(), "C", line);
        assert!(status == 1 && err.starts_with("error: ") && err.contains(en), "{err}");
        let (status, _, err) = run(place.path(), "zh_CN.UTF-8", line);
        assert!(status == 1 && err.starts_with("错误：script.tune:1：") && err.contains(zh), "{err}");
        // A session that was switched says it in the new language.
        let err = run(place.path(), "C", &format!("lang zh\n{line}")).2;
        assert!(err.starts_with("错误：") && err.contains(zh), "{err}");
    }
}

/// What the examples speak of: a model, data sets, pictures, adapters, a script.
#[cfg(unix)]
fn workplace() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for folder in ["models", "Qwen", "data", "saves/a", "saves/creatures"] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, path(name)).unwrap();
    link(&fixture("tiny"), "models/Qwen2.5-VL-3B-Instruct");
    link(&fixture("tiny"), "Qwen/Qwen2.5-VL-3B-Instruct");
    link(&fixture("tiny-qwen3-vl"), "Qwen/Qwen3-VL-4B-Instruct");
    link(&fixture("pictures"), "pictures");
    link(&path("data"), "pokemon");
    let entry = r#"{"file_name": "creatures.json", "formatting": "sharegpt",
                    "columns": {"messages": "messages", "images": "images"},
                    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
                             "assistant_tag": "assistant", "system_tag": "system"}}"#;
    let info = format!(r#"{{"creatures": {entry}, "creatures_test": {entry}, "identity": {entry}}}"#);
    std::fs::write(path("data/dataset_info.json"), info).unwrap();
    // Enough of them for every example.
    let few = std::fs::read_to_string(fixture("train/creatures.json")).unwrap();
    let few = few.trim().trim_start_matches('[').trim_end_matches(']');
    std::fs::write(path("data/creatures.json"), format!("[{}]", [few; 3].join(","))).unwrap();
    for picture in ["cat.png", "a.png", "b.png"] {
        std::fs::copy(fixture("pictures/creature_0.png"), path(picture)).unwrap();
    }
    let adapter = fixture("train/adapter_nonzero");
    for name in ["saves/a/checkpoint-50", "saves/a/checkpoint-100"] {
        link(&adapter, name);
    }
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(adapter.join(file), path("saves/creatures").join(file)).unwrap();
    }
    std::fs::write(path("creatures.tune"), "print 你好\n").unwrap();
    let (status, out, err) = run(place.path(), "C", &format!("{BEFORE}set output_dir=made\nsave"));
    assert!(status == 0, "{err}\n{out}");
    std::fs::rename(path("made/checkpoint-1"), path("saves/creatures/checkpoint-100")).unwrap();
    place
}

fn run(place: &Path, locale: &str, script: &str) -> (i32, String, String) {
    std::fs::write(place.join("script.tune"), script).unwrap();
    let mut command = tunebook();
    command.args(["run", "script.tune"]).env("LC_ALL", locale).env("XDG_CACHE_HOME", place.join("cache"));
    if script.contains("workers") {
        use_mpi(&mut command, place);
    }
    command.current_dir(place).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Has an MPI on the path, whose ssh finds every host here.
fn use_mpi(command: &mut Command, place: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let (path, ssh) = (std::env::var("PATH").unwrap(), place.join("ssh"));
    let [mpich, ..] = &implementations()[..] else { panic!() };
    std::fs::write(&ssh, "#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do shift; done\nshift\nexec sh -c \"$*\"\n")
        .unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{path}", mpich.launcher.parent().unwrap().display());
    command.env("PATH", path).env("HYDRA_LAUNCHER", "ssh").env("HYDRA_LAUNCHER_EXEC", ssh);
}

/// Whether a line has four different English words in a row and nothing Chinese. (The model repeats itself.)
fn is_english(line: &str) -> bool {
    let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let words: Vec<_> = line.split(' ').collect();
    let are_different = |words: &[&str]| words.iter().collect::<HashSet<_>>().len() == words.len();
    let is_said = words.windows(4).any(|words| words.iter().all(is_word) && are_different(words));
    let is_chinese = line.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    is_said && !is_chinese && !ENGLISH.iter().any(|known| line.contains(known))
}
