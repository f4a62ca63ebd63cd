//! What crosses crates: parity with transformers and PEFT, the terminal, the output folder.

mod fixtures;
mod logits;
