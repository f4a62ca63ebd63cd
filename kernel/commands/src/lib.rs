//! The command language over the engine: lines are parsed, completed, explained and carried out here, and what they
//! answer is written as plain text.
//!
//! Each verb is one file in `verbs/` with its name, usage, help, examples and what it runs. [`Host`] owns the session
//! on a thread of its own, so that a face stays responsive. It is no face: it knows neither terminals nor notebooks and
//! prints nothing.

pub mod cell;
mod changes;
pub mod complete;
mod environment;
mod error;
pub mod given_file;
pub mod highlight;
mod host;
pub mod inspect;
mod jobs;
pub mod lang;
mod log;
pub mod output;
pub mod page;
mod parse;
mod picture;
mod printable;
pub mod quantities;
mod recipe;
mod run;
pub mod rust;
pub mod script;
mod serving;
pub mod shell;
pub mod sweep;
pub mod text;
pub mod timing;
mod training;
mod verb;
mod verbs;
mod weighted_sum;
mod words;
mod worker;
mod zh;

pub use changes::changed_words;
pub use environment::PYTHON;
pub use environment::environment;
pub use error::Error;
pub use error::Result;
pub use host::CellCall;
pub use host::Host;
pub use host::Message;
pub use host::Question;
pub use host::RecipeTask;
pub use host::Seen;
pub use host::Snapshot;
pub use jobs::JobReport;
pub use jobs::JobState;
pub use jobs::Jobs;
pub use jobs::Standing;
pub use lang::Lang;
pub use lang::Language;
pub use lang::Localize;
pub use output::Output;
pub use printable::colourless;
pub use printable::printable;
pub use printable::written;
pub use run::run;
pub use rust::RustError;
pub use serving::Serving;
pub use text::estimate;
pub use tunebook_engine::Event;
pub use verb::CommandContext;
pub use verb::Takes;
pub use verb::Verb;
pub use verbs::version::version;
pub use worker::serve_session;

/// Every verb, in the order in which one meets them.
pub fn verbs() -> &'static [&'static Verb] {
    verbs::VERBS
}
