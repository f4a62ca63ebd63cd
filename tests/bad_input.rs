//! Bad input gets a message that says what, where and what to do; the session goes on as it was.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_commands::page::Page;
use tunebook_commands::text::render;

use crate::binary::tunebook;
use crate::fixtures::fixture;

/// A session that is typed at.
struct Typed(Host);

impl Typed {
    fn new() -> Self {
        Self(Host::start(Lang::En).unwrap())
    }

    /// With the tiny model, its data and a new adapter.
    fn ready() -> Self {
        let typed = Self::new();
        typed.answers(&format!("load {}", fixture("tiny").display()));
        typed.answers(&format!("data creatures dataset_dir={} max_samples=4", fixture("train").display()));
        typed.answers("set batch=2 accum=1");
        typed.answers("lora rank=2");
        typed
    }

    fn type_line(&self, line: &str) -> Result<String, String> {
        let mut shown = String::new();
        for message in self.0.line(line) {
            match message {
                Message::Event(_) | Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
                Message::Output(output) => shown += &render(&output, Page { width: 200, color: false, lang: Lang::En }),
                Message::Done(result) => return result.map(|()| shown).map_err(|error| error.to_string()),
            }
        }
        panic!("the session is gone");
    }

    fn answers(&self, line: &str) -> String {
        self.type_line(line).unwrap_or_else(|error| panic!("`{line}`: {error}"))
    }

    /// `line` fails with a message that holds all of `parts`, and nothing that `status` tells has changed.
    fn refuses(&self, line: &str, parts: &[&str]) {
        let held = |typed: &Self| {
            let status = typed.answers("status");
            status.lines().filter(|line| !line.to_lowercase().contains("memory")).collect::<Vec<_>>().join("\n")
        };
        let before = (held(self), self.answers("show"));
        let message = self.type_line(line).expect_err(line);
        for part in parts {
            assert!(message.contains(part), "`{line}` says `{message}`, which does not name `{part}`");
        }
        assert_eq!((held(self), self.answers("show")), before, "after `{line}`");
    }
}

/// A copy of the tiny checkpoint to spoil.
fn copy_of_tiny() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture("tiny")).unwrap().flatten() {
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

/// A data set of one user turn with these pictures, beside a sample that is whole.
fn write_data(folder: &Path, question: &str, role: &str, images: &[&str]) {
    let whole = json!({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}], "images": []});
    let sample = json!({
        "messages": [{"role": role, "content": question}, {"role": "assistant", "content": "A creature."}],
        "images": images,
    });
    let info: Value = json!({"set": {"file_name": "set.json", "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}}});
    fs::write(folder.join("set.json"), json!([sample, whole]).to_string()).unwrap();
    fs::write(folder.join("dataset_info.json"), info.to_string()).unwrap();
}

#[test]
fn model_folders() {
    let typed = Typed::ready();
    typed.refuses("load nowhere/at/all", &["nowhere/at/all", "config.json"]);

    let folder = copy_of_tiny();
    let shard = folder.path().join("model-00002-of-00002.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let load = format!("load {}", folder.path().display());
    typed.refuses(&load, &["model-00002-of-00002.safetensors", "download it again"]);

    fs::write(&shard, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1040256\n").unwrap();
    typed.refuses(&load, &["model-00002-of-00002.safetensors is a Git LFS pointer", "git lfs pull"]);
    fs::remove_file(&shard).unwrap();
    typed.refuses(&load, &["model-00002-of-00002.safetensors"]);
    fs::write(&shard, &bytes).unwrap();
    typed.answers(&load);

    let typed = Typed::ready();
    let config = folder.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["architectures"] = json!(["LlamaForCausalLM"]);
    fs::write(&config, other.to_string()).unwrap();
    typed.refuses(&load, &["config.json", "LlamaForCausalLM", "Qwen2_5_VLForConditionalGeneration"]);

    let mut larger: Value = serde_json::from_str(&text).unwrap();
    larger["intermediate_size"] = json!(176);
    fs::write(&config, larger.to_string()).unwrap();
    typed.refuses(&load, &["layers.0.mlp.gate_proj.weight", "[160, 64]", "[176, 64]"]);

    fs::write(&config, &text[..text.len() / 2]).unwrap();
    typed.refuses(&load, &["config.json", "JSON", "line"]);

    fs::write(&config, &text).unwrap();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    typed.refuses(&load, &["tokenizer.json"]);
    typed.answers("train 1");
}

#[test]
fn folders_that_are_no_model_or_none_to_train() {
    let typed = Typed::ready();
    let adapter = fixture("train/adapter_nonzero");
    typed.refuses(&format!("load {}", adapter.display()), &["adapter, not a model", "adapter load"]);
    let model = fixture("tiny");
    typed.refuses(&format!("adapter load {}", model.display()), &["whole model", "`load "]);
    typed.refuses(&format!("load {}", model.join("config.json").display()), &["config.json is a file", "folder"]);
    typed.refuses(&format!("load {}", fixture("pictures").display()), &["contains no config.json"]);

    let folder = copy_of_tiny();
    let load = format!("load {}", folder.path().display());
    let config = folder.path().join("config.json");
    let mut quantized: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    quantized["quantization_config"] = json!({"quant_method": "awq", "bits": 4, "group_size": 128});
    fs::write(&config, quantized.to_string()).unwrap();
    typed.refuses(&load, &["config.json", "awq, 4 bits", "quantization_bit=4"]);

    fs::copy(model.join("config.json"), &config).unwrap();
    fs::remove_file(folder.path().join("model-00001-of-00002.safetensors")).unwrap();
    typed.refuses(&load, &["model.safetensors.index.json", "model-00001-of-00002.safetensors", "missing"]);
    fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    typed.refuses(&load, &["has no weights", "model.safetensors"]);
    fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
    typed.refuses(&load, &["pytorch_model.bin", "save_pretrained"]);
    fs::remove_file(folder.path().join("pytorch_model.bin")).unwrap();
    let gguf = folder.path().join("model-q4.gguf");
    fs::write(&gguf, "").unwrap();
    typed.refuses(&load, &["model-q4.gguf", "GGUF", "quantization_bit=4"]);
    fs::remove_file(&config).unwrap();
    typed.refuses(&load, &["model-q4.gguf", "GGUF"]);
    typed.refuses(&format!("load {}", gguf.display()), &["model-q4.gguf", "GGUF"]);
}

#[test]
fn samples_are_skipped_and_reported() {
    let typed = Typed::ready();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let picture = fixture("pictures/wide.png");
    let picture = picture.to_str().unwrap();
    fs::write(folder.path().join("broken.png"), b"\x89PNG\r\n\x1a\nnot a picture").unwrap();
    let cases: [(&str, &str, &[&str], &[&str]); 5] = [
        ("Hello", "narrator", &[], &["set.json[0]", "narrator"]),
        ("<image><image>Which?", "user", &[picture], &["set.json[0]", "2 <image>", "1 image"]),
        ("<image>What?", "user", &["gone.png"], &["set.json[0]", "gone.png"]),
        ("<image>What?", "user", &["broken.png"], &["set.json[0]", "broken.png"]),
        ("<image>What?", "user", &[picture], &["set.json[0]", "cutoff_len 16"]),
    ];
    for (question, role, images, parts) in cases {
        write_data(folder.path(), question, role, images);
        let cutoff = if parts[1].starts_with("cutoff") { 16 } else { 512 };
        let shown = typed.answers(&format!("data set dataset_dir={path} cutoff_len={cutoff}"));
        for part in parts {
            assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
        }
        typed.answers("train 1");
    }
}

#[test]
fn data_sets() {
    let typed = Typed::ready();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    typed.refuses(&format!("data set dataset_dir={path}"), &["dataset_info.json"]);
    write_data(folder.path(), "Hello", "user", &[]);
    typed.refuses(&format!("data sett dataset_dir={path}"), &["sett", "did you mean `set`"]);
    fs::write(folder.path().join("set.json"), "[{\"messages\": [}]").unwrap();
    typed.refuses(&format!("data set dataset_dir={path}"), &["set.json", "1:"]);
    write_data(folder.path(), "Hello", "narrator", &[]);
    let text = fs::read_to_string(folder.path().join("set.json")).unwrap();
    let bad: Value = serde_json::from_str::<Value>(&text).unwrap()[0].clone();
    fs::write(folder.path().join("set.json"), json!([bad]).to_string()).unwrap();
    typed.refuses(&format!("data set dataset_dir={path}"), &["no sample", "the only one was skipped", "narrator"]);
    fs::write(folder.path().join("set.json"), "[]").unwrap();
    typed.refuses(&format!("data set dataset_dir={path}"), &["no sample of set can be used: there are none"]);
    typed.answers("train 1");
}

/// However long a value is, and whatever it would do to a terminal.
#[test]
fn what_is_quoted_is_cut() {
    let typed = Typed::ready();
    let long = "图".repeat(5_000);
    for line in [
        format!("{long} 5"),
        format!("train {long}"),
        format!("train {long}=1"),
        format!("set {long}=1"),
        format!("set lora_rank={long}"),
        format!("help {long}"),
        format!("lang {long}"),
        format!("plot {long}"),
        format!("sample split={long}"),
        format!("adapter use {long}"),
        format!("adapter {long} {long}"),
        format!("data {long}"),
        format!("load \"{long}"),
    ] {
        let message = typed.type_line(&line).expect_err(&line);
        assert!(message.chars().count() < 500, "{} characters: {message}", message.chars().count());
    }
    let folder = tempfile::tempdir().unwrap();
    let picture = format!("{}\u{1b}[2J.png", "folder/".repeat(20_000));
    for (role, picture) in [(&*long, "a.png"), ("user", &*picture), ("user", &*format!("data:image/png;base64,{long}"))]
    {
        write_data(folder.path(), "<image>", role, &[picture]);
        let shown = typed.answers(&format!("data set dataset_dir={}", folder.path().display()));
        assert!(shown.chars().count() < 2000 && !shown.contains('\u{1b}'), "{shown}");
    }
}

#[test]
fn every_sample_that_is_left_out_is_listed() {
    let typed = Typed::new();
    typed.answers(&format!("load {}", fixture("tiny").display()));
    assert_eq!(typed.answers("data skipped"), "no sample was skipped");
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), "Hello", "user", &[]);
    let whole: Vec<Value> = serde_json::from_str(&fs::read_to_string(folder.path().join("set.json")).unwrap()).unwrap();
    let mut records: Vec<_> = (0..25).map(|_| json!({"messages": [{"role": "narrator", "content": "x"}]})).collect();
    records.insert(3, whole[1].clone());
    records.push(json!({"messages": whole[0]["messages"], "images": ["gone.png"]}));
    fs::write(folder.path().join("set.json"), json!(records).to_string()).unwrap();
    let data = format!("data set dataset_dir={}", folder.path().display());
    assert!(typed.answers(&data).contains("`data skipped` lists them"));
    let few = typed.answers("data skipped");
    for part in ["26 samples skipped", "set.json[0]", "set.json[20]", "narrator", "6 more"] {
        assert!(few.contains(part), "`{part}` is not in:\n{few}");
    }
    assert!(!few.contains("set.json[3]") && !few.contains("set.json[21]"), "{few}");
    let all = typed.answers("data skipped all");
    assert!(all.contains("set.json[25]") && all.contains("0 <image>") && !all.contains("more"), "{all}");

    // Where nothing can be used, the data before stays, and what is wrong is listed all the same.
    fs::write(folder.path().join("set.json"), json!([records[0]]).to_string()).unwrap();
    typed.refuses(&data, &["no sample", "narrator"]);
    assert!(typed.answers("data skipped").contains("1 sample skipped"));
}

#[test]
fn a_picture_that_vanishes_costs_nothing_but_its_sample() {
    let typed = Typed::ready();
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("here.png");
    fs::copy(fixture("pictures/wide.png"), &picture).unwrap();
    write_data(folder.path(), "<image>What?", "user", &["here.png"]);
    typed.answers(&format!("data set dataset_dir={}", folder.path().display()));
    fs::remove_file(&picture).unwrap();
    typed.refuses("train 1 on_bad_sample=stop", &["here.png", "on_bad_sample=skip"]);
    let left_out = typed.answers("train 1");
    assert!(left_out.contains("1 sample skipped"), "{left_out}");
    fs::copy(fixture("pictures/wide.png"), &picture).unwrap();
    assert!(!typed.answers("train 1").contains("skipped"));
}

#[test]
fn settings_verbs_and_folders() {
    let typed = Typed::ready();
    typed.refuses("set lora_rank=0", &["lora_rank", "1", "1024"]);
    typed.refuses("set learning_rate=fast", &["learning_rate", "fast", "number"]);
    typed.refuses("set learning_rte=1e-4", &["learning_rte", "`learning_rate`"]);
    typed.refuses("trian 5", &["trian", "`train`"]);
    typed.refuses("train 5 lerning_rate=1e-4", &["lerning_rate", "`learning_rate`"]);
    typed.refuses("train five", &["five"]);
    typed.refuses("lora rank=4 target=nothing_like_it", &["nothing_like_it"]);
    typed.refuses("adapter use nobody", &["nobody"]);
    typed.refuses("adapter load nowhere", &["nowhere"]);
    typed.refuses("chat image=nowhere.png What is this?", &["nowhere.png"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    typed.refuses(&format!("save {}", file.join("below").display()), &["file/below"]);
    typed.refuses(&format!("train 1 output_dir={}", file.join("below").display()), &["file/below"]);
    typed.answers("train 1");
    typed.answers(&format!("save {}", folder.path().join("saved").display()));
}

/// What the program says on standard error when it fails with these arguments and this standard input.
fn complaint(arguments: &[&str], input: &[u8]) -> String {
    let mut command = tunebook();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn a_pipe_that_is_no_text_is_named_with_its_line() {
    assert_eq!(complaint(&[], b"print one\r\nprint \xff\r\n"), "error: stdin:2 is not UTF-8 text; save it as UTF-8\n");
}

#[test]
fn a_connection_file_steers_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.json");
    let transport = format!("\u{1b}]52;c;cm0=\u{7}{}", "x".repeat(5_000));
    fs::write(&file, json!({"transport": transport}).to_string()).unwrap();
    let said = complaint(&["kernel", "start", "--connection-file", file.to_str().unwrap()], b"");
    assert!(said.contains("␛]52;c") && !said.contains('\u{1b}') && said.len() < 1000, "{said}");
}

#[test]
fn without_a_model_verbs_say_what_comes_first() {
    let typed = Typed::new();
    typed.refuses("train 5", &["load"]);
    typed.refuses("lora", &["load"]);
    typed.refuses("chat Hello", &["load"]);
    typed.answers(&format!("load {}", fixture("tiny").display()));
    typed.refuses("sample", &["data"]);
    typed.refuses("save somewhere", &["lora"]);
}
