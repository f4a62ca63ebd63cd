//! The Jupyter face: the same commands over the same engine, in a notebook.
//!
//! Sockets and their protocol, rich display and the kernelspec are here. What a cell means is up to
//! `tunebook-commands`, and what it does is up to `tunebook-engine`, on its own thread. Every socket has one reader and
//! one writer; cells run on a thread of their own, so the other sockets answer meanwhile.

mod background;
pub mod client;
mod control;
mod end;
mod error;
mod execute;
mod frame_limit;
#[cfg(test)]
mod frontend_tests;
mod history;
mod info;
mod inside;
mod iopub;
mod kernel;
mod log;
mod outcome;
mod page;
mod port;
mod progress;
mod request;
mod shell;
mod stdin;
mod widgets;
mod wire;

pub mod kernelspec;

pub use error::Error;
pub use error::Result;
pub use kernel::serve;
