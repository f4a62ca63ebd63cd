//! The subcommands that tell of the program itself: what a report needs, the scripts of shells, the manual page.

use std::process::Command;
use std::process::Stdio;

use crate::binary::tunebook;

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_report_names_the_machine_and_keeps_tokens() {
    let said_of = |arguments: &[&str]| {
        let mut command = tunebook();
        command.args(arguments).env("HF_TOKEN", "hf_secret").env("HF_ENDPOINT", "http://user:secret@127.0.0.1:1");
        said(&mut command)
    };
    let report = said_of(&["env"]);
    assert!(!report.contains("secret"), "{report}");
    let value = |key: &str| report.lines().find_map(|line| line.strip_prefix(&format!("- {key}: "))).unwrap();
    assert_eq!(value("tunebook version"), env!("CARGO_PKG_VERSION"));
    assert!(value("build").contains("with rust-cells"), "{report}");
    let variables: Vec<_> = value("variables").split(", ").collect();
    assert!(variables.contains(&"HF_ENDPOINT") && variables.contains(&"HF_TOKEN"), "{report}");
    assert_eq!(value("language"), "en");
    let python = said(Command::new("python3").args(["-c", "import sys; print(sys.version.split()[0])"]));
    assert!(value("Python").starts_with(python.trim()), "{report}");
    assert_eq!(value("Rust"), said(Command::new("rustc").arg("--version")).trim());
    #[cfg(target_os = "linux")]
    {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
        let kilobytes: f64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(value("memory").starts_with(&format!("{:.1} GiB, ", kilobytes / 1024.0 / 1024.0)), "{report}");
    }
    // At the prompt it is the same.
    let keys =
        |report: &str| report.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_string())).collect::<Vec<_>>();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("env.tune"), "env").unwrap();
    let of_verb = said(tunebook().args(["run", "env.tune"]).current_dir(folder.path()));
    assert_eq!(keys(&of_verb)[..keys(&report).len()], keys(&report)[..]);
}

#[test]
fn bash_completes_what_a_line_may_hold() {
    let run = |line: &str| {
        let program = tunebook();
        let line = format!("source <($TUNEBOOK completions bash); {line}");
        said(Command::new("bash").args(["-c", &line]).env("TUNEBOOK", program.get_program()).env("LC_ALL", "C"))
    };
    let completed = |words: &[&str]| {
        // What bash itself does on Tab.
        let line = format!(
            "COMP_WORDS=({words}); COMP_CWORD={last}; _tunebook tunebook '{word}' {before}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words = words.join(" "),
            last = words.len() - 1,
            word = words[words.len() - 1],
            before = words[words.len() - 2],
        );
        run(&line).lines().map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["tunebook", "co"]), ["completions"]);
    assert_eq!(completed(&["tunebook", "kernel", "inst"]), ["install"]);
    assert!(completed(&["tunebook", "kernel", "install", "--"]).contains(&"--sys-prefix".to_string()));
    // Where it finds nothing, bash completes files.
    assert_eq!(completed(&["tunebook", "run", "scr"]), [""]);
    assert!(run("complete -p tunebook").contains("-o default"));
    assert!(completed(&["tunebook", "completions", "fi"]).contains(&"fish".to_string()));
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        let script = said(tunebook().args(["completions", shell]));
        assert!(script.contains("completions") && script.contains("attach"), "{shell}");
    }
}

#[test]
fn the_manual_page_is_one() {
    let page = said(tunebook().arg("man"));
    let first = page.lines().find(|line| line.starts_with(".TH")).unwrap();
    assert!(first.starts_with(".TH tunebook 1"), "{first}");
    for text in ["tunebook kernel install", "tunebook completions", "load FOLDER", "LLaMA\\-Factory"] {
        assert!(page.contains(text), "{text}:\n{page}");
    }
    let page = said(tunebook().arg("man").env("LC_ALL", "zh_CN.UTF-8"));
    assert!(page.contains("命令行") && !page.contains("COMMAND LINE"), "{page}");
}
