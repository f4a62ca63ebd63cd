//! What crosses crates: parity with transformers and PEFT, the terminal, the output folder.

mod fixtures;
mod gradients;
mod logits;
mod training;
