//! What crosses crates: parity with transformers and PEFT, the terminal, the output folder.

mod adapters;
mod bad_input;
mod binary;
mod fixtures;
mod gradients;
mod logits;
mod readme;
mod terminal;
mod training;
