//! Rust among commands: which lines are Rust, where a block of Rust ends, and why one was not carried out.
//!
//! Rust runs on another thread than the engine's, since it drives the session. Running it is not part of this crate.

use std::str::FromStr;

use proc_macro2::TokenStream;
use tunebook_quote::REMEDY;

use crate::lang::Localized;
use crate::lang::localized;
use crate::parse::without_percent;

/// Begins a cell, or a block that ends with an empty line.
pub(crate) const BLOCK: &str = "%%rust";
/// Begins a line.
const VERB: &str = "rust";

/// The Rust of a line or block that is Rust.
pub fn code(text: &str) -> Option<&str> {
    if let Some(rest) = block(text) {
        return Some(rest);
    }
    let rest = without_percent(text).strip_prefix(VERB)?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim())
}

/// Whether `line` begins a block.
pub fn begins_block(line: &str) -> bool {
    block(line).is_some()
}

/// Whether the lines of a block are all: the last one is empty and nothing is open, or the last two are empty.
pub fn is_whole(block: &str) -> bool {
    let code = self::block(block).unwrap_or(block);
    code.ends_with("\n\n\n") || code.ends_with("\n\n") && TokenStream::from_str(code).is_ok()
}

fn block(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix(BLOCK)?;
    let (line, code) = rest.split_once('\n').unwrap_or((rest, ""));
    line.trim().is_empty().then_some(code)
}

/// Why Rust was not carried out, or not to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RustError {
    #[error(
        "this tunebook was built without Rust cells{REMEDY}`cargo install --path repl --features rust-cells` installs one with them"
    )]
    NotBuilt,
    #[error(
        "Rust can be run at the prompt, from a pipe and in notebooks, but not in a file that `run` reads{REMEDY}pipe the file instead"
    )]
    NotHere,
    #[error(
        "Rust cells need {missing}, which cannot be found{REMEDY}`rustup` installs Rust completely. Commands work without it"
    )]
    Missing { missing: String },
    #[error("Rust cells cannot start: {problem}")]
    Start { problem: String },
    /// `report` shows where, in several lines with colours.
    #[error("{message}{REMEDY}nothing in this cell was run")]
    Compile { message: String, report: String },
    #[error("{message}{REMEDY}nothing in this cell was run")]
    Refused { message: String },
    #[error("the cell panicked: {message}")]
    Panicked { message: String },
    /// An error that `?` has passed on.
    #[error("{message}")]
    Failed { message: String },
    /// `is_whole` if the cell has come to its end all the same.
    #[error("stopped")]
    Interrupted { is_whole: bool },
    #[error("stopped{REMEDY}the cell did not end by itself, so its process was terminated")]
    Killed,
    #[error("the process of the Rust cells has ended ({how})")]
    Died { how: String },
}

impl RustError {
    /// What is left of a session that goes on.
    pub(crate) fn left(&self) -> Option<Localized> {
        match self {
            Self::Panicked { .. } => {
                Some(localized("the session and earlier variables are unchanged", "会话和之前的变量保持不变"))
            }
            Self::Interrupted { is_whole: true } => {
                Some(localized("the session and the variables are still there", "会话和变量都还在"))
            }
            Self::Interrupted { is_whole: false } => Some(localized(
                "the session and the variables of earlier cells are still there; this cell's own are not",
                "会话和之前单元格的变量都还在，这个单元格自己的变量没有保留",
            )),
            Self::Killed | Self::Died { .. } => Some(localized(
                "the variables are lost; model, adapters and training are still there",
                "变量已丢失，模型、适配器和训练都还在",
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_or_a_block_is_rust() {
        assert_eq!(code("rust 1 + 1"), Some("1 + 1"));
        assert_eq!(code(" %rust session().step()"), Some("session().step()"));
        assert_eq!(code("%%rust\nlet x = 1;\nx"), Some("let x = 1;\nx"));
        assert_eq!(code("%%rust"), Some(""));
        assert_eq!(code("%%rusty\n1"), None);
        assert_eq!(code("rusty 1"), None);
        assert_eq!(code("train 5"), None);
    }

    #[test]
    fn a_block_ends_with_an_empty_line_when_nothing_is_open() {
        assert!(!is_whole("%%rust\n"));
        assert!(!is_whole("%%rust\nlet x = 1;\n"));
        assert!(is_whole("%%rust\nlet x = 1;\n\n"));
        assert!(!is_whole("%%rust\nfn f() {\n\n"));
        assert!(is_whole("%%rust\nfn f() {\n\n}\n\n"));
        assert!(!is_whole("%%rust\nlet s = \"a {\n\n"));
        assert!(is_whole("%%rust\n// a brace {\nlet c = '{';\n\n"));
        assert!(is_whole("%%rust\nfn f() {\n\n\n"));
    }
}
