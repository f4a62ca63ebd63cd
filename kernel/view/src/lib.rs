//! What a face shows, apart from where it shows it: [`View`] says what kind of thing an output is, [`Progress`] what a
//! command has told of itself so far, and [`html`] draws both for a page.
//!
//! A face (the terminal, a notebook) decides when and where to draw. Plain text is `tunebook_commands::text`.

mod activity;
pub mod bundle;
pub mod html;
mod progress;
mod training;
mod view;

pub use activity::Activity;
pub use progress::PATIENCE;
pub use progress::Progress;
pub use training::Training;
pub use view::View;
