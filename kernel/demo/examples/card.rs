//! Writes the model card from the predictions that `train.tune` leaves:
//! `cargo run --release -p tunebook-demo --example card -- DIR FILE`
//!
//! `DIR` holds a folder with `generated_predictions.jsonl` for each kind of question.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The kinds of questions and an example of each.
const TOPICS: [(&str, &str); 6] = [
    ("colour", "What colour is the star?"),
    ("shape", "What shape is it?"),
    ("count", "How many circles are there?"),
    ("place", "Where is the ring?"),
    ("parts", "What ears does it have?"),
    ("caption", "Describe this picture."),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(file)) = (args.next(), args.next()) else { return Err("usage: card DIR FILE".into()) };
    let mut card = CARD.to_string();
    for (topic, example) in TOPICS {
        let (right, all) = exact_matches(&Path::new(&dir).join(topic).join("generated_predictions.jsonl"))?;
        writeln!(card, "| {topic} | {example} | {:.1} % of {all} |", 100.0 * right as f64 / all as f64)?;
    }
    fs::write(file, card)?;
    Ok(())
}

/// How many answers are the expected ones to the letter, and how many there are.
fn exact_matches(path: &Path) -> Result<(usize, usize), Box<dyn Error>> {
    let (mut right, mut all) = (0, 0);
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        let text = |key: &str| line[key].as_str().map(str::trim).ok_or(format!("{}: no `{key}`", path.display()));
        right += usize::from(text("predict")? == text("label")?);
        all += 1;
    }
    Ok((right, all))
}

const CARD: &str = "\
# The demo's model

A Qwen2.5-VL of 3.5 million parameters: the architecture, configuration and file layout of the published models, a
tokenizer of its own with their special tokens, weights in bfloat16. It was trained from random weights by tunebook
itself, vision tower included, on the processor.

It has seen plain shapes (seven, in eight colours), up to five of them to count, pairs side by side or one above the
other, and creatures, of which it was told colour, body, ears and tail, but neither name nor type; words of names and
types it knows from saying after what it reads. Questions and answers are in English and Chinese. It knows nothing
else. Pictures are shrunk to 112 × 112 pixels.

Made with, from the repository's root:

```sh
cargo run --release -p tunebook-demo --example make -- target/demo
cargo run --release -- run kernel/demo/train.tune
cargo run --release -p tunebook-demo --example card -- target/demo/predictions kernel/demo/model/README.md
```

The second line leaves the model in `target/demo/model`; its files go beside this one. It takes forty minutes of two
cores; run again from the start on a processor with the same instructions, it has given the same files, byte for byte.

## Held-out accuracy

Answers that are the expected ones to the letter, on pictures that were not trained on:

| questions | such as | right |
|---|---|---|
";
