//! Rust cells beside the commands: hosts evcxr, and gives its cells the live session over a socket.
//!
//! A cell is compiled and run in a process of its own. What it asks of `session()` (the crate `tunebook-client`, in
//! `client/`) arrives here over a socket that others cannot use. The [`Host`] carries it out by the very commands, so
//! messages and errors are the same without being written twice, and appear where the cell runs. This crate is no face:
//! it prints nothing, and a face draws its messages as those of a command.
//!
//! `session` is a function, since functions survive a panic and a restart, and variables do not. The client crate is
//! embedded in the program and written to the cache folder under the hash of its text. It is a member of the workspace,
//! so that it is compiled and tested, and the host uses its types.
//!
//! evcxr brings rust-analyzer, half of a cold build. Without the feature `evcxr` there are no Rust cells, and a line of
//! Rust is refused.
//!
//! [`Host`]: tunebook_commands::Host

#[cfg(feature = "evcxr")]
mod calls;
#[cfg(feature = "evcxr")]
mod cell;
#[cfg(feature = "evcxr")]
mod client_folder;
#[cfg(feature = "evcxr")]
mod compile_report;
#[cfg(feature = "evcxr")]
mod evaluator;
#[cfg(feature = "evcxr")]
mod runtime;
#[cfg(feature = "evcxr")]
mod rust_cells;
#[cfg(feature = "evcxr")]
mod server;
#[cfg(feature = "evcxr")]
mod socket;
#[cfg(feature = "evcxr")]
mod toolchain;
#[cfg(any(test, not(feature = "evcxr")))]
#[cfg_attr(feature = "evcxr", expect(dead_code, unreachable_pub, reason = "only its tests use it then"))]
mod without;
#[cfg(feature = "evcxr")]
mod workplace;

#[cfg(feature = "evcxr")]
pub use rust_cells::RustCells;
#[cfg(feature = "evcxr")]
pub use rust_cells::runtime_hook;
#[cfg(not(feature = "evcxr"))]
pub use without::RustCells;
#[cfg(not(feature = "evcxr"))]
pub use without::runtime_hook;

/// What can stand at a place in a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// The part of the line, in bytes, that one of the candidates takes the place of.
    pub start: usize,
    pub end: usize,
    pub candidates: Vec<Completion>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    /// `function`, `struct` and so on.
    pub kind: &'static str,
    pub description: String,
}
