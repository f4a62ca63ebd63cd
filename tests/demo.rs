//! The demo: the model that comes with the program describes creatures, learns their names and types in one short
//! training, and looks at them.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use crate::binary::tunebook;

/// A folder to run in, with a cache of its own.
struct Demo(TempDir);

impl Demo {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// What the lines of `script` show.
    fn run(&self, script: &str) -> String {
        let file = self.0.path().join("script.tune");
        fs::write(&file, script).unwrap();
        let (home, cache) = (self.0.path().join("home"), self.0.path().join("cache"));
        let mut command = tunebook();
        command
            .current_dir(&self.0)
            .env("HOME", home)
            .env("XDG_CACHE_HOME", cache)
            .env("LC_ALL", "C")
            .arg("run")
            .arg(file);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = String::from_utf8(stdout).unwrap();
        assert!(status.success(), "{text}\n{}", String::from_utf8_lossy(&stderr));
        text
    }

    /// The folder of the data set, where the demo has written it.
    fn data(&self) -> std::path::PathBuf {
        let cache = fs::read_dir(self.0.path().join("cache/tunebook")).unwrap();
        let demo = cache.map(|entry| entry.unwrap().path()).find(|path| path.join("creatures").is_dir());
        demo.unwrap().join("creatures")
    }

    /// The share of answers whose name and type are the right ones.
    fn right(&self, folder: &str) -> f64 {
        let text = fs::read_to_string(self.0.path().join(folder).join("generated_predictions.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let right = |line: &&Value| name_and_type(&line["predict"]) == name_and_type(&line["label"]);
        lines.iter().filter(right).count() as f64 / lines.len() as f64
    }
}

/// The sentence that tells them: all up to the first full stop.
fn name_and_type(text: &Value) -> String {
    text.as_str().unwrap().split(['.', '。']).next().unwrap().trim().to_string()
}

/// The held-out samples with each other's pictures, as data set `swapped` in `folder`.
fn swap_pictures(data: &Path, folder: &Path) {
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(data.join(name)).unwrap()).unwrap() };
    let mut samples = read("creatures_held_out.json");
    let samples = samples.as_array_mut().unwrap();
    let picture = |sample: &Value| data.join(sample["images"][0].as_str().unwrap());
    let pictures: Vec<_> = samples.iter().map(picture).collect();
    for (index, sample) in samples.iter_mut().enumerate() {
        sample["images"] = json!([pictures[(index + 7) % pictures.len()]]);
    }
    let mut info = json!({"swapped": read("dataset_info.json")["creatures_held_out"]});
    info["swapped"]["file_name"] = json!("swapped.json");
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("swapped.json"), json!(samples).to_string()).unwrap();
    fs::write(folder.join("dataset_info.json"), info.to_string()).unwrap();
}

#[test]
fn a_short_training_teaches_the_names_of_creatures_never_seen() {
    let demo = Demo::new();
    let shown = demo.run(
        "demo\n\
         chat image=images/creatures_held_out_0001.png \"Describe this creature.\"\n\
         predict output_dir=before\n\
         predict shapes_held_out output_dir=shapes\n",
    );
    let answer = shown.lines().find(|line| line.starts_with("This is a ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(answer.contains(" creature. It has ") && answer.contains(" body, "), "{answer}");
    let before = demo.right("before");
    assert!(before <= 0.05, "{before} were right before the training");
    let shapes = demo.right("shapes");
    assert!(shapes >= 0.85, "{shapes} of the questions about plain shapes are answered rightly");

    swap_pictures(&demo.data(), &demo.0.path().join("swapped_data"));
    let shown = demo.run(
        "demo\n\
         lora\n\
         train\n\
         chat image=images/creatures_held_out_0001.png \"Describe this creature.\"\n\
         predict output_dir=after\n\
         set dataset_dir=swapped_data\n\
         predict swapped output_dir=swapped\n",
    );
    let (after, swapped) = (demo.right("after"), demo.right("swapped"));
    assert!(after >= 0.9, "{after} are right after the training\n{shown}");
    assert!(swapped <= 0.1, "{swapped} are right with other pictures");
}

#[test]
fn the_same_seed_gives_the_same_curve() {
    let demo = Demo::new();
    let curve = |seed: u32| {
        let shown = demo.run(&format!("demo\nset seed={seed} logging_steps=5\nlora\ntrain 20\n"));
        let steps: Vec<_> = shown.lines().filter(|line| line.starts_with("step")).map(str::to_string).collect();
        assert_eq!(steps.len(), 4, "{shown}");
        steps
    };
    let first = curve(1);
    assert_eq!(first, curve(1));
    assert_ne!(first, curve(2));
}

#[test]
fn what_the_demo_brings_goes_when_something_else_comes() {
    let demo = Demo::new();
    let folder = |name: &str, set: &str| {
        let folder = demo.0.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(
            folder.join("a.json"),
            r#"[{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]"#,
        )
        .unwrap();
        fs::write(folder.join("dataset_info.json"), json!({set: {"file_name": "a.json"}}).to_string()).unwrap();
        folder
    };
    // One where data lies by default, and one elsewhere.
    folder("data", "mine");
    folder("other", "theirs");
    let tiny = crate::fixtures::fixture("tiny");
    let show = "show eval_dataset\nshow dataset_dir\nshow learning_rate\nshow lora_rank\nshow max_new_tokens\n";
    let text = demo.run(&format!(
        "set learning_rate=1e-5 max_new_tokens=9\n\
         demo\n\
         print data by its name\n\
         data mine\n{show}\
         demo\n\
         print data in a folder\n\
         data theirs dataset_dir=other\n\
         {show}\
         demo\n\
         print other data of the demo\n\
         data shapes\n{show}\
         demo\n\
         print a share of the same\n\
         data creatures val_size=0.1\n{show}\
         set lora_rank=4\n\
         print another model\n\
         load {}\n\
         {show}",
        tiny.display()
    ));
    let names =
        ["data by its name", "data in a folder", "other data of the demo", "a share of the same", "another model"];
    let place = |name: &str| text.find(&format!("{name}\n")).unwrap();
    let part = |name: &str| {
        let next = names.iter().skip_while(|other| **other != name).nth(1);
        text[place(name)..next.map_or(text.len(), |next| place(next))].to_string()
    };
    let held_out = |text: &str| text.contains("eval_dataset = none");
    let first = part("data by its name");
    assert!(
        first.contains("mine: 2 samples to train on;") && held_out(&first) && first.contains("dataset_dir = data\n"),
        "{first}"
    );
    // What suits the model stays with it.
    assert!(first.contains("learning_rate = 0.004") && first.contains("max_new_tokens = 64"), "{first}");
    let second = part("data in a folder");
    assert!(second.contains("theirs: 2 samples to train on;") && held_out(&second), "{second}");
    let third = part("other data of the demo");
    assert!(third.contains("shapes: ") && held_out(&third) && third.contains("creatures\n"), "{third}");
    let fourth = part("a share of the same");
    assert!(fourth.contains("432 samples to train on, 48 to evaluate on") && held_out(&fourth), "{fourth}");
    let last = part("another model");
    for line in ["learning_rate = 1e-5", "lora_rank = 4", "max_new_tokens = 9"] {
        assert!(last.contains(line), "{last}");
    }
}
