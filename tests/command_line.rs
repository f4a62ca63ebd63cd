//! The subcommands that tell of the program itself: the scripts of shells, the manual page.

use std::process::Command;
use std::process::Stdio;

use crate::binary::tunebook;

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
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
