//! Outputs and progress as fragments of HTML, with inline styles, and charts as SVG. They are for any page; in JupyterLab they
//! take its colours. Whatever comes from data or a model is escaped.

mod answer;
mod aside;
mod axis;
mod boxes;
mod changes;
mod chart;
mod comparison;
mod curve;
mod data;
mod drawing;
mod escape;
mod overlay;
mod picture;
mod predictions;
mod probes;
mod progress;
mod regions;
mod sample;
mod steps;
mod sweep;
mod table;
mod tokens;
mod worst;

/// The style of a sample's frame.
const CARD: &str = "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:8px";

pub use answer::answer;
pub use aside::aside;
pub use boxes::boxed;
pub use comparison::answers;
pub use comparison::comparison;
pub use curve::curve;
pub use data::data;
pub use drawing::foreign_drawing;
pub use escape::report;
pub use overlay::overlay;
pub use picture::picture;
pub use picture::thumbnail;
pub use predictions::predictions;
pub use probes::probes;
pub use progress::activity;
pub use progress::training;
pub use progress::trial;
pub use sample::sample;
pub use sweep::range_test;
pub use sweep::sweep;
pub use table::table;
pub use worst::worst;
