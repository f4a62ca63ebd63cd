//! Outputs, events and notes as plain text, in files named after what they are about.

mod adapter;
mod advice;
mod answer;
mod boxes;
mod chart;
mod data;
mod jobs;
mod model;
mod notes;
mod overlay;
mod probes;
mod push;
mod regions;
mod results;
mod serve;
mod setting;
mod status;
mod sweep;
mod table;
mod tokens;
mod training;
mod undo;
mod workers;
mod worst;

use std::path::Path;

use tunebook_engine::report::ChatReport;
use tunebook_engine::report::CompareReport;
use tunebook_engine::report::ResumeReport;

use crate::lang::Lang;
use crate::localized;
use crate::output::Output;
use crate::output::Table;
use crate::page::Page;
use crate::page::wrap;

use adapter::adapter;
use adapter::adapters;
use adapter::adapters_table;
use adapter::saved;
use data::data;
use data::data_table;
use data::sample;
use status::status;
use table::draw_table;
use table::lines;

pub use advice::estimate;
pub use answer::answer;
pub use boxes::listed;
pub use chart::ORIGINAL;
pub use chart::SMOOTHED;
pub use chart::metric;
pub use data::patches;
pub use data::sample_counts;
pub use data::sample_title;
pub(crate) use notes::system_prompt;
pub use regions::about_regions;
pub use regions::regions_named;
pub use regions::regions_title;
pub(crate) use setting::expected;
pub use setting::group;
pub use status::recovered;
pub use sweep::range_note;
pub use sweep::table as sweep_table;
pub use sweep::trial;
pub use tokens::about_probabilities;
pub use tokens::level;
pub use tokens::levels;
pub use tokens::likely;
pub use tokens::percent;
pub use tokens::piece;
pub(crate) use tokens::sample_table;
pub use tokens::summary as scores_summary;
pub use tokens::visible;
pub use worst::note as worst_note;
pub use worst::title as worst_title;

/// `output` as plain text, without a line feed at the end; empty if there is nothing to show.
pub fn render(output: &Output, page: Page) -> String {
    let lang = page.lang;
    match output {
        Output::Nothing
        | Output::Picture(_)
        | Output::Clear
        | Output::Quit
        | Output::Conversation
        | Output::Panel
        | Output::Wait => String::new(),
        Output::Text(text) | Output::Written { text, .. } | Output::Stderr(text) => text.clone(),
        Output::Aside(text) => wrap(text, 0, page.width),
        Output::Display(contents) => displayed(contents, lang),
        Output::Table(table) => draw_table(table, page),
        Output::Loaded(report) => lines(&model::loaded(report, lang), page),
        Output::Data(report) => data(report, page),
        Output::Sample(report) => sample(report, page),
        Output::Adapter(report) => lines(&adapter(report, lang), page),
        Output::Adapters(reports) => adapters(reports, page),
        Output::Step(record) => training::step(record, lang),
        Output::Evaluation(record) => page.warm(&training::evaluation(record, lang)),
        Output::Probed(record) => probes::probed(record, page),
        Output::Probes(report) => probes::probes(report, page),
        Output::Trained(report) => lines(&training::trained(report, lang), page),
        Output::Undone(report) => lines(&undo::undone(report, lang), page),
        Output::Workers(report) => workers::workers(report.as_ref(), page),
        Output::Serving(report) => lines(&serve::serving(report.as_ref(), lang), page),
        Output::Started { adapter, step, last_step } => lines(&jobs::started(adapter, *step, *last_step, lang), page),
        Output::Job(report) => lines(&jobs::job(report.as_ref(), lang), page),
        Output::Resumed(report) => resumed(report, page),
        Output::Plot(plot) => chart::draw(plot, page) + &drawn_to(plot.file.as_deref(), lang),
        Output::Overlay(overlay) => overlay::draw(overlay, page) + &drawn_to(overlay.file.as_deref(), lang),
        Output::Sweep(report) => sweep::sweep(report, page),
        Output::RangeTest(report) => sweep::range_test(report, page),
        Output::Answer(report) => answered(report, page),
        Output::Evaluated(report) => draw_table(&results::evaluated(report, lang), page),
        Output::Evaluations(reports) => draw_table(&results::evaluations(reports, lang), page),
        Output::Worst(report) => draw_table(&worst::worst(report, lang), page),
        Output::Prediction(report) => results::prediction(report, page),
        Output::Predicted(made) => draw_table(&results::predicted(&made.report, lang), page),
        Output::Compared(report) => results::compared(report, page),
        Output::Saved(report) => lines(&saved(report, lang), page),
        Output::Exported(report) => lines(&results::exported(report, lang), page),
        Output::Pushed(report) => lines(&push::pushed(report, lang), page),
        Output::Status(report) => lines(&status(report, lang), page),
    }
}

/// The file that a chart was drawn to.
fn drawn_to(file: Option<&Path>, lang: Lang) -> String {
    let drawn = |file: &Path| {
        let file = file.display();
        localized!(lang, "\nsaved to {file}", "\n已存到 {file}")
    };
    file.map(drawn).unwrap_or_default()
}

/// What a Rust cell displays, where only text can be shown.
fn displayed(contents: &[(String, String)], lang: Lang) -> String {
    let text = contents.iter().find(|(kind, _)| kind == "text/plain");
    text.map(|(_, text)| text.clone()).unwrap_or_else(|| {
        let kinds = contents.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>().join(", ");
        localized!(lang, "({kinds}, shown only in a notebook)", "（{kinds}，只能在笔记本中显示）")
    })
}

/// The statistics of each answer of a comparison, for a face that has streamed the answers.
pub fn compared_ends(report: &CompareReport, page: Page) -> String {
    results::ends(report, page)
}

/// Whether the answers of a comparison have room side by side.
pub fn fits_side_by_side(report: &CompareReport, page: Page) -> bool {
    results::are_side_by_side(report, page)
}

/// The table in `output`, for a face that draws tables itself.
pub fn table(output: &Output, lang: Lang) -> Option<Table> {
    match output {
        Output::Table(table) => Some(table.clone()),
        Output::Data(report) => Some(data_table(report, lang)),
        Output::Adapters(reports) if !reports.is_empty() => Some(adapters_table(reports, lang)),
        Output::Evaluated(report) => Some(results::evaluated(report, lang)),
        Output::Evaluations(reports) => Some(results::evaluations(reports, lang)),
        Output::Predicted(made) => Some(results::predicted(&made.report, lang)),
        _ => None,
    }
}

/// How an answer came about, its boxes, and what was asked of it beside its text.
fn answered(report: &ChatReport, page: Page) -> String {
    let boxes = boxes::on_pictures(&report.pictures, page.lang);
    let mut parts: Vec<_> = boxes.iter().map(|line| lines(line, page)).collect();
    parts.push(page.faint(&answer(report, page.lang)));
    if !report.tokens.is_empty() {
        parts.push(tokens::alternatives(&report.tokens, page));
    }
    if !report.regions.is_empty() {
        parts.push(regions::regions(&report.regions, page));
    }
    parts.join("\n")
}

fn resumed(report: &ResumeReport, page: Page) -> String {
    let read = report.data.as_ref().map(|report| data(report, page) + "\n").unwrap_or_default();
    read + &lines(&training::resumed(report, page.lang), page)
}
