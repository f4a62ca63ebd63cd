//! The control panel: a page with what LLaMA-Factory's web page has, which drives the same live session as the cells and
//! prompts around it.
//!
//! The page is `web/`, built into `dist/`; here is the other side. A [`Panel`] is what a session has one of; each page that
//! is open has a [`Connection`] to it, over a comm of Jupyter or a WebSocket. All that a page does is a command line, which it
//! shows; what others do with the session it is told, so that all pages and the prompt stay in step.

mod connection;
mod gallery;
mod panel;
mod recorded;
mod server;
mod state;

pub use connection::Connection;
pub use panel::CarryOut;
pub use panel::Panel;
pub use panel::Tell;
pub use server::Server;

/// The page as a module of JavaScript, whose default export is what anywidget asks for.
pub const SCRIPT: &str = include_str!("../dist/panel.js");
/// Its styles.
pub const STYLES: &str = include_str!("../dist/panel.css");
/// The page around it where there is no notebook.
const PAGE: &str = include_str!("../dist/index.html");
