//! What crosses crates: parity with transformers and PEFT, the terminal, the output folder.

// `unwrap` is for tests, and all of this crate is tests.
#![allow(clippy::unwrap_used)]
// What was measured, for whoever runs a test with `--nocapture`.
#![allow(clippy::print_stdout)]

mod adapters;
mod bad_hub;
mod bad_input;
mod bad_samples;
mod binary;
mod blend;
mod boxes;
mod brought_adapters;
mod changed_weights;
mod chat;
mod command_line;
mod configs;
mod data;
mod demo;
mod documents;
mod ending;
mod evaluation;
mod export;
mod fixtures;
mod float16;
mod generation;
mod gguf;
mod gradients;
mod hub;
mod hub_user;
mod jupyter;
mod languages;
mod live;
mod loggers;
mod logits;
mod loopback_hub;
mod manifests;
mod mpi;
mod not_finite;
#[cfg(unix)]
mod outside;
mod own_head;
mod panel;
mod pictures;
mod probes;
mod push;
mod quantized;
mod recipe;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
// Killing at a system call is done as Linux has it.
mod reliability;
mod resume;
mod rust_cells;
mod scores;
mod serialized;
#[cfg(unix)]
mod serve;
mod shared_cache;
mod sweep;
mod terminal;
mod trainable;
mod training;
mod undo;
mod upload_hub;
mod validation;
mod venv;
mod wheel;
#[cfg(target_os = "linux")]
mod workers;
mod worst;
