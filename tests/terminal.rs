//! The binary at a terminal, in a pipe and with a recipe, on the tiny checkpoint.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use rexpect::session::PtySession;
use rexpect::session::spawn_command;

use crate::binary::tunebook;
use crate::fixtures::fixture;

const PROMPT: &str = "tunebook> ";
/// Long enough for a busy machine.
const TIMEOUT: u64 = 60_000;

#[test]
fn a_session_at_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Terminal::open(folder.path());
    session.enter("load tiny", "414,288 parameters");
    session.enter("data creatures dataset_dir=train cutoff_len=512", "creatures: 21 samples");
    session.enter("lora rank=4", "adapter `default` is active: rank 4, alpha 8");
    session.enter("train 5 lr=1e-3 batch=2 accum=2 logging_steps=5", "at step 5 of 18");
    session.enter("plot", "step 5");
    session.enter("chat image=pictures/creature_0.png max_new_tokens=4 What's this?", "answer 4 tokens");
    session.enter("train 5", "at step 10 of 18");

    session.enter("trian 5", "there is no command `trian` (did you mean `train`?)");
    session.enter("train 5 lr=fast", "`fast` is not a value for learning_rate");
    session.enter("show lr", "learning_rate = 0.001");

    // Ctrl-C in the middle of a training, which then goes on where it was stopped.
    session.pty.send_line("train epochs=100000 logging_steps=10").unwrap();
    session.pty.exp_string("step     20/").unwrap();
    session.pty.send_control('c').unwrap();
    let (before, stopped) = session.pty.exp_regex("stopped at step [0-9]+").unwrap();
    assert!(!before.contains("^C"), "it pushes the bar up: {before}");
    let step: usize = stopped.trim_start_matches("stopped at step ").parse().unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.enter("train 1", &format!("at step {} of", step + 1));

    session.enter(&format!("save {}", folder.path().join("saved").display()), "adapter_model.safetensors");
    session.enter("adapter off", "the base model answers");
    session.enter(
        &format!("adapter load {} as again", folder.path().join("saved").display()),
        "adapter `again` is active",
    );

    // Several lines as one, and a line given up.
    session.press("print a \\\r");
    session.enter("b", "a b");
    session.press("print lost");
    session.pty.send_control('c').unwrap();
    // The end of the line; the prompt was drawn again with every key before.
    session.pty.exp_string("\x1b[?2004l").unwrap();
    session.pty.exp_string(PROMPT).unwrap();

    // A conversation has a prompt of its own.
    session.pty.send_line("chat").unwrap();
    session.pty.exp_string("you> ").unwrap();
    session.pty.send_line("image=pictures/creature_1.png And this?").unwrap();
    session.pty.exp_string("tokens/s").unwrap();
    session.pty.exp_string("you> ").unwrap();
    session.pty.send_line("/exit").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.enter("status", "2 turns");

    session.pty.send_control('d').unwrap();
    session.pty.exp_eof().unwrap();
    let history = std::fs::read_to_string(folder.path().join("tunebook/history.txt")).unwrap();
    assert!(history.contains("lora rank=4"), "{history}");
}

#[test]
fn a_training_in_the_background_stands_above_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Terminal::open(folder.path());
    session.enter("load tiny", "414,288 parameters");
    session.enter("data creatures dataset_dir=train cutoff_len=512", "creatures: 21 samples");
    session.enter("lora rank=4", "adapter `default` is active");
    // The line is there at once, and drawn anew in its place while nothing is typed.
    session.enter("train epochs=100000 logging_steps=10 lr=1e-3 &", "in the background, steps ");
    for _ in 0..2 {
        session.pty.exp_string("\x1b[1A\r\x1b[2Kstep ").unwrap();
        session.pty.exp_string("tok/s").unwrap();
    }
    session.pty.exp_string(PROMPT).unwrap();
    session.enter("chat image=pictures/creature_0.png max_new_tokens=4 What's this?", "answer 4 tokens");
    session.enter("lora again", "`stop` stops it");
    session.enter("jobs", "`default`: training, step ");
    // Leaving has to be meant.
    session.pty.send_control('d').unwrap();
    session.pty.exp_string("leaving once more stops it").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    // Who waits sees it as any training, and stops it.
    session.pty.send_line("fg").unwrap();
    session.pty.exp_regex("step +[0-9]+0/").unwrap();
    session.pty.send_control('c').unwrap();
    session.pty.exp_string("stopped at step ").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.enter("jobs", "`default`: stopped");
    // Its end is said above the prompt.
    session.enter("train 3 &", "in the background, steps ");
    session.pty.exp_string("3 steps in").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.enter("train &", "in the background, steps ");
    session.enter("quit", "leaving once more stops it");
    session.pty.send_line("quit").unwrap();
    session.pty.exp_eof().unwrap();
}

#[test]
fn rust_at_the_prompt_ends_with_an_empty_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Terminal::open(folder.path());
    session.enter("rust let x = 40;", "starting Rust");
    session.press("%%rust\rlet y = {\r\r2 };\rx + y\r\r");
    session.pty.exp_string("42").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    // The compiler's drawing, then the error; nothing of the session is touched.
    session.enter("rust let wrong: String = x;", "^ expected `String`, found `i32`");
    session.enter("rust x + 1", "41");
    // It reads what is typed, behind what it has asked.
    let line = "rust let mut name = String::new(); print!(\"Who? \"); std::io::stdin().read_line(&mut name)?; name";
    session.pty.send_line(line).unwrap();
    for asked in ["print", "Who? ", "\n", "Who? "] {
        session.pty.exp_string(asked).unwrap();
    }
    session.enter("Ada", "\"Ada\\n\"");
    // Ctrl-C, which comes to its process as well, takes nothing from a cell that ends by itself.
    session.pty.send_line("rust std::thread::sleep(std::time::Duration::from_secs(2));").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    session.pty.send_control('c').unwrap();
    session.pty.exp_string("the session and the variables are still there").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.enter("rust x + 2", "42");
    session.pty.send_line("rust loop { std::thread::sleep(std::time::Duration::from_millis(1)); }").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    session.pty.send_control('c').unwrap();
    session.pty.exp_string("variables are lost").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
}

#[test]
#[cfg(unix)]
fn commands_of_the_shell_and_times_at_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Terminal::open(folder.path());
    session.enter("!echo $((40 + 2)); cat", "42");
    session.enter("!exit 3", "the command has ended with status 3");
    session.enter("train?", "usage: train");
    session.enter("%time print here", "Wall time: ");
    session.press("%%time\rprint a\r!echo $((20 + 1))\r\r");
    for text in ["21", "CPU times: user ", "Wall time: ", PROMPT] {
        session.pty.exp_string(text).unwrap();
    }
    // A training in the background goes on, whatever becomes of the command.
    session.enter("load tiny", "414,288 parameters");
    session.enter("data creatures dataset_dir=train cutoff_len=512", "creatures: 21 samples");
    session.enter("lora rank=4", "adapter `default` is active");
    session.enter("train epochs=100000 logging_steps=1000 &", "in the background, steps ");
    session.pty.send_line("!echo $((50 + 2)); sleep 100").unwrap();
    session.pty.exp_string("52").unwrap();
    session.pty.send_control('c').unwrap();
    session.pty.exp_string("error: stopped").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.enter("jobs", "`default`: training, step ");
}

#[test]
#[cfg(unix)]
fn a_script_has_lines_of_the_shell_and_times() {
    let script = "!echo out; echo err >&2\n%%time\nprint a\ntrian\n\nprint never\n";
    let (status, out, err) = pipe(script);
    assert_eq!(status, 1);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], ["out", "a"]);
    assert!(lines[2].starts_with("CPU times: user ") && lines[3].starts_with("Wall time: "), "{out}");
    assert_eq!(lines.len(), 4);
    assert!(err.starts_with("err\nerror: stdin:4: there is no command `trian`"), "{err}");
    let (status, out, err) = pipe("!printf 'a\\033]52;c;x\\007\\n'; false\n");
    assert_eq!(out, "a␛]52;c;x␇\n");
    assert_eq!((status, err.as_str()), (1, "error: stdin:1: the command has ended with status 1\n"));
}

#[test]
fn tab_completes() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Terminal::open(folder.path());
    session.press("stat\t\r");
    session.pty.exp_string("adapters  none").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.press("show lora_r\t\r");
    session.pty.exp_string("lora_rank = 8").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.press("load tiny-n\t\r");
    session.pty.exp_string("from tiny-nested").unwrap();
    session.pty.exp_string(PROMPT).unwrap();
    session.press("plot l\t\t");
    session.pty.exp_string("loss").unwrap();
    session.pty.exp_string("lr").unwrap();
}

#[test]
fn a_piped_script_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    let script = format!(
        "# from a pipe\n\
         load tiny\n\
         data creatures dataset_dir=train cutoff_len=512\n\
         sample 1\n\
         lora rank=4\n\
         train 5 lr=1e-3 \\\n  batch=2 accum=2\n\
         plot save={}\n\
         chat image=pictures/creature_0.png max_new_tokens=4 What's this?\n\
         train 5\n\
         save {}\n\
         adapter load {} as again\n",
        folder.path().join("loss.png").display(),
        saved.display(),
        saved.display(),
    );
    let (status, out, err) = pipe(&script);
    assert_eq!((status, err.as_str()), (0, ""));
    let expected = [
        "414,288 parameters",
        "creatures: 21 samples",
        "这是一只水系小精灵",
        "adapter `default` is active",
        "step  5/18",
        "step 5 of 18",
        "answer 4 tokens",
        "step 10 of 18",
        "adapter_model.safetensors",
        "adapter `again` is active",
    ];
    let mut rest = out.as_str();
    for text in expected {
        rest = rest.split_once(text).unwrap_or_else(|| panic!("no {text:?} in its place in\n{out}")).1;
    }
    assert!(!out.contains('\u{1b}') && !out.contains('\r'), "no colours and no bars in a pipe");
    assert!(std::fs::read(folder.path().join("loss.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(saved.join("trainer_log.jsonl").is_file() && saved.join("training_loss.png").is_file());
}

#[test]
fn a_wrong_line_ends_a_script_with_status_1() {
    for (line, message) in [
        ("trian 5", "error: stdin:3: there is no command `trian` (did you mean `train`?); `help` lists them"),
        ("set lora_rnk=4", "error: stdin:3: there is no setting named `lora_rnk` (did you mean `lora_rank`?)"),
        ("set rank=0", "error: stdin:3: `0` is not a value for lora_rank, which accepts an integer from 1 to 1024"),
        ("load nowhere", "error: stdin:3: there is no folder nowhere"),
        ("train 5", "error: stdin:3: no model is loaded; load one first"),
        ("chat \\\n image=a.png", "error: stdin:3: an image needs a question; usage: chat"),
        ("load tiny\nchat", "error: stdin:4: `chat` without a text opens a conversation"),
    ] {
        let (status, out, err) = pipe(&format!("print before\n\n{line}\nprint after\n"));
        assert_eq!(status, 1, "{line}");
        assert!(out.starts_with("before\n") && !out.contains("after"), "{out}");
        assert!(err.starts_with(message), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    assert_eq!(pipe("print before\nquit\ntrian").0, 0);
}

#[test]
fn a_file_is_run_and_its_errors_have_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tune");
    std::fs::write(&file, "print one\nset seed=-1\n").unwrap();
    let found = finish(tunebook().arg("run").arg(&file));
    assert_eq!(found.0, 1);
    assert_eq!(found.1, "one\n");
    assert!(found.2.starts_with(&format!("error: {}:2: `-1` is not a value for seed", file.display())), "{}", found.2);
    assert_eq!(finish(tunebook().args(["run", "nowhere.tune"])).0, 1);
}

#[test]
fn a_recipe_of_llama_factory_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let output = format!("output_dir={}", folder.path().join("out").display());
    let recipe = ["train", "train/cosine/recipe.yaml"];
    let (status, out, err) = finish(tunebook().args(recipe).args([&output, "plot_loss=true", "save_steps=6"]));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("accepted, but without effect here: preprocessing_num_workers"), "{out}");
    assert!(out.contains("finished at step 12 of 12"), "{out}");
    for file in ["adapter_model.safetensors", "all_results.json", "checkpoint-6", "checkpoint-12", "training_loss.png"]
    {
        assert!(folder.path().join("out").join(file).exists(), "{file}");
    }

    let (status, _, err) = finish(tunebook().args(recipe).args([&output, "streaming=true"]));
    assert_eq!(status, 1);
    assert!(err.starts_with("error: `streaming: true` cannot be followed"), "{err}");
    // As LLaMA-Factory does, it goes on from the last checkpoint, or starts anew where it is asked to.
    let (status, out, err) = finish(tunebook().args(recipe).args([&output, "overwrite_output_dir=false"]));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("resuming from ") && out.contains("all 12 steps are done"), "{out}");
    for checkpoint in ["checkpoint-6", "checkpoint-12"] {
        std::fs::remove_dir_all(folder.path().join("out").join(checkpoint)).unwrap();
    }
    let (status, _, err) = finish(tunebook().args(recipe).args([&output, "overwrite_output_dir=false"]));
    assert_eq!(status, 1);
    assert!(err.contains("already contains a training"), "{err}");
}

#[test]
fn a_recipe_for_the_whole_model_leaves_a_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = format!("output_dir={}", out.display());
    let (status, text, err) =
        finish(tunebook().args(["train", "train/full/recipe.yaml", &output, "max_steps=2", "save_steps=1"]));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(text.ends_with("out, including the whole model\n"), "{text}");
    let script = format!("load {}\nload tiny\nresume {}/checkpoint-1\ntrain 1\n", out.display(), out.display());
    let (status, text, err) = pipe(&script);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(text.contains("is active, after step 1 of 2") && text.contains("finished at step 2 of 2"), "{text}");
}

/// The binary on a terminal of its own.
struct Terminal {
    pty: PtySession,
}

impl Terminal {
    fn open(data: &Path) -> Self {
        let mut command = tunebook();
        command.current_dir(fixture("")).env("XDG_DATA_HOME", data).env("TERM", "xterm").env("NO_COLOR", "1");
        let mut pty = spawn_command(command, Some(TIMEOUT)).unwrap();
        pty.exp_string(PROMPT).unwrap();
        Self { pty }
    }

    /// Types keys without a line feed at their end.
    fn press(&mut self, keys: &str) {
        self.pty.send(keys).and_then(|_| self.pty.flush()).unwrap();
    }

    /// Types a line, and waits for what it should answer and for the next prompt.
    fn enter(&mut self, line: &str, answer: &str) {
        self.pty.send_line(line).unwrap();
        for text in [answer, PROMPT] {
            self.pty.exp_string(text).unwrap_or_else(|error| panic!("{line}: no {text:?}: {error}"));
        }
    }
}

/// Exit status, standard output and standard error with `script` on standard input.
fn pipe(script: &str) -> (i32, String, String) {
    let mut command = tunebook();
    command.current_dir(fixture("")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    parts(child.wait_with_output().unwrap())
}

fn finish(command: &mut Command) -> (i32, String, String) {
    parts(command.current_dir(fixture("")).stdin(Stdio::null()).output().unwrap())
}

fn parts(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
