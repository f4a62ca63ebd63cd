//! What is typed or pasted: commands, scripts, recipes and command lines of LLaMA-Factory.
//!
//! What comes out is carried out, so that no slash gets in: every path stays in the folder of the case.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::Verdict;
use super::bytes;
use super::child::Started;
use super::dice::Dice;
use super::json;
use super::verdict;
use crate::fixtures::fixture;

/// A training that goes on for so long is asked to end.
const PATIENCE: Duration = Duration::from_secs(3);

const COMMANDS: [&str; 34] = [
    "chat max_new_tokens=3 temperature=0.5 do_sample=true Hello, what's this?",
    "chat system=\"You are short.\" max_new_tokens=2 \"Hello\" again",
    "compare max_new_tokens=2 Hello",
    "set learning_rate=1e-4 lora_rank=8 warmup_steps=10",
    "set lr_scheduler_type=cosine_with_restarts lr_scheduler_kwargs={\"num_cycles\": 2}",
    "set lora_target=q_proj,v_proj additional_target=embed_tokens lora_alpha=16",
    "set --cutoff_len 512 --image_max_pixels=10000 val_size=0.1",
    "set seed=42 max_grad_norm=1.0 weight_decay=0.01 neftune_noise_alpha=5",
    "set loraplus_lr_ratio=16 pissa_init=true pissa_iter=4",
    "show learning_rate",
    "show",
    "train 2 lr=1e-3 batch=2 accum=1",
    "train 1 \\",
    "data creatures,pairs val_size=3 mix_strategy=interleave_under interleave_probs=0.5,0.5",
    "data creatures max_samples=4 cutoff_len=200 packing=true",
    "data skipped all",
    "sample 2 split=train",
    "lora second rank=4 alpha=8 dropout=0.1 target=all",
    "lora third use_dora=true use_rslora=true init_lora_weights=gaussian",
    "freeze num_layers=1 freeze_trainable_modules=mlp",
    "full",
    "adapter list",
    "adapter use default",
    "adapter off",
    "evaluate creatures max_samples=2",
    "predict max_samples=1 max_new_tokens=2",
    "plot loss save=plot.svg",
    "save kept",
    "resume kept",
    "recipe show",
    "recipe save kept.yaml",
    "status # all of it",
    "help train",
    "print one \"two three\" 'four' \\# five",
];

/// A pipe of commands, some of which are changed.
pub(super) fn commands(dice: &mut Dice, folder: &Path) -> Verdict {
    let start = "load tiny\nset memory=1 batch=2 accum=1 save_steps=1\ndata creatures dataset_dir=train max_samples=6\n\
        lora rank=2\n";
    let mut script = start.as_bytes().to_vec();
    for index in 0..4 {
        let line = dice.pick::<&str>(&COMMANDS);
        // Behind the first one that is refused none is carried out.
        let is_changed = index == 3 || dice.once_in(4);
        let line = if is_changed { bytes::mutate_text(dice, line) } else { line.as_bytes().to_vec() };
        script.extend(without_slashes(line));
        script.push(b'\n');
    }
    let environment = language(dice);
    let mut started =
        Started { folder, arguments: &[], stdin: &script, environment: &[environment], patience: Some(PATIENCE) };
    if dice.once_in(3) {
        fs::write(folder.join("a.tune"), &script).unwrap();
        started = Started { arguments: &["run", "a.tune"], stdin: b"", ..started };
    }
    verdict::of_typed(&started.ended())
}

/// A recipe in YAML or JSON, that is trained or shown.
pub(super) fn recipe(dice: &mut Dice, folder: &Path) -> Verdict {
    let text = dice.pick(recipes());
    let name = *dice.pick(&["r.yaml", "r.json"]);
    let changed = match (name, dice.once_in(3)) {
        ("r.json", _) => json::mutate(dice, &arguments(text)),
        (_, true) => bytes::mutate(dice, text.as_bytes()),
        (_, false) => bytes::mutate_text(dice, text),
    };
    fs::write(folder.join(name), without_slashes(changed)).unwrap();
    let script =
        format!("load tiny\nrecipe load {name}\nshow\nrecipe show\nrecipe save again.yaml\nrecipe load again.yaml\n");
    let few =
        ["max_steps=1", "batch=2", "accum=1", "memory=1", "max_samples=4", "max_new_tokens=1", "dataset_dir=train"];
    let trained: Vec<_> = ["train", name].into_iter().chain(few).collect();
    let environment = language(dice);
    let started = match dice.once_in(2) {
        true => {
            Started { folder, arguments: &trained, stdin: b"", environment: &[environment], patience: Some(PATIENCE) }
        }
        false => Started { environment: &[environment], ..Started::script(folder, &script) },
    };
    verdict::of(&started.ended())
}

/// A command of `llamafactory-cli`, pasted behind `tunebook`.
pub(super) fn command_line(dice: &mut Dice, folder: &Path) -> Verdict {
    let mut words: Vec<String> = vec!["train".to_string()];
    for (key, value) in arguments(dice.pick::<String>(recipes())).as_object().unwrap() {
        let value = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        words.extend(match dice.below(3) {
            0 => vec![format!("--{key}"), value],
            1 => vec![format!("{key}={value}")],
            _ => vec![format!("--{}={value}", key.replace('_', "-"))],
        });
    }
    for _ in 0..1 + dice.below(3) {
        let at = 1 + dice.below(words.len() - 1);
        words[at] = String::from_utf8_lossy(&bytes::mutate_text(dice, &words[at])).replace('\0', "");
    }
    words.extend(["max_steps=1", "batch=2", "accum=1", "memory=1", "max_samples=4"].map(str::to_string));
    let words: Vec<_> = words.iter().map(|word| word.replace('/', "_")).filter(|word| word.len() < 100_000).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let environment = language(dice);
    verdict::of(
        &Started { folder, arguments: &words, stdin: b"", environment: &[environment], patience: Some(PATIENCE) }
            .ended(),
    )
}

fn language(dice: &mut Dice) -> (&'static str, &'static str) {
    ("LC_ALL", *dice.pick(&["C", "zh_CN.UTF-8"]))
}

fn without_slashes(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
    bytes
}

/// The recipes that the tests train with, and those that LLaMA-Factory's web page has written.
fn recipes() -> &'static [String] {
    static RECIPES: OnceLock<Vec<String>> = OnceLock::new();
    RECIPES.get_or_init(|| {
        let names = ["cosine", "dora", "freeze", "loraplus", "pissa", "vision", "additional_target"];
        let mut recipes: Vec<_> = names
            .iter()
            .map(|name| fs::read_to_string(fixture("train").join(name).join("recipe.yaml")).unwrap())
            .collect();
        let pages: Value = serde_json::from_slice(&fs::read(fixture("recipe/commands.json")).unwrap()).unwrap();
        let page = |page: &Value| {
            page["recipe"]
                .as_str()
                .unwrap()
                .replace("Qwen/Qwen2.5-VL-3B-Instruct", "tiny")
                .replace("pokemon_multimodal", "creatures")
        };
        recipes.extend(pages.as_array().unwrap().iter().map(page));
        recipes.iter().map(|recipe| recipe.replace('/', "_").replace(": identity", ": creatures")).collect()
    })
}

/// A recipe of one key a line as an object.
fn arguments(recipe: &str) -> Value {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let entry = |line: &str| line.split_once(": ").map(|(key, text)| (key.to_string(), value(text)));
    Value::Object(recipe.lines().filter_map(entry).collect())
}
