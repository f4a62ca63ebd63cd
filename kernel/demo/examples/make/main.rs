//! Makes what the demo's model learns from, and the random checkpoint that it starts from:
//! `cargo run --release -p tunebook-demo --example make -- DIR [SCENES]`
//!
//! `DIR/init` is a model folder, `DIR/scenes` holds the training set and a held-out set for each kind of question.
//! `kernel/demo/train.tune` does the rest. The same program makes the same files, byte for byte.

#![expect(clippy::print_stdout, reason = "an example prints")]

mod checkpoint;
mod creature;
mod data_set;
mod talk;
mod tokenizer;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: make DIR [SCENES]")?;
    let scenes = args.next().map_or(Ok(80_000), |count| count.parse())?;
    let dir = Path::new(&dir);
    let tokenizer = tokenizer::train()?;
    checkpoint::write(&dir.join("init"), &tokenizer)?;
    data_set::write(&dir.join("scenes"), scenes)?;
    println!("{scenes} scenes and a checkpoint with {} tokens in {}", tokenizer.get_vocab_size(true), dir.display());
    Ok(())
}
