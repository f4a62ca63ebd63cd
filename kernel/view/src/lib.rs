//! What a face shows, apart from where it shows it: [`Progress`] says what a command has told of itself so far, and
//! [`html`] draws it, and what commands answer, for a page.
//!
//! A face (the terminal, a notebook) decides when and where to draw. Plain text is `tunebook_commands::text`.

mod activity;
pub mod html;
mod progress;
mod training;

pub use activity::Activity;
pub use progress::PATIENCE;
pub use progress::Progress;
pub use training::Training;
