//! Outputs by what a face does with them.

use std::path::Path;

use tunebook_commands::Lang;
use tunebook_commands::Output;
use tunebook_commands::output::Overlay;
use tunebook_commands::output::Plot;
use tunebook_commands::output::Predicted;
use tunebook_commands::output::Probes;
use tunebook_commands::output::Table;
use tunebook_commands::sweep::RangeReport;
use tunebook_commands::sweep::SweepReport;
use tunebook_commands::text;
use tunebook_engine::report::ChatReport;
use tunebook_engine::report::CompareReport;
use tunebook_engine::report::DataReport;
use tunebook_engine::report::DrawnPicture;
use tunebook_engine::report::SampleReport;
use tunebook_engine::report::TrainReport;
use tunebook_engine::report::WorstReport;

/// What kind of thing an output is. A face matches all of them, so that no output is left out; `text::render` writes each
/// as plain text.
pub enum View<'a> {
    /// There is nothing to show.
    Nothing,
    /// Text for standard output, without its last line feed.
    Stdout(&'a str),
    /// The same for standard error.
    Stderr(&'a str),
    /// A part of what a program has written to standard output or standard error.
    Written { text: &'a str, is_error: bool },
    /// What the user should know that is no answer.
    Aside(&'a str),
    /// A line of a training's log, which its progress display shows too.
    Log,
    /// How an answer came about, whose text was streamed, and the pictures on which it has boxes.
    Answer(&'a [DrawnPicture]),
    /// The same with more about the answer than its text.
    DetailedAnswer(&'a ChatReport),
    /// An answer beside the one that was expected, and the pictures on which one of them has boxes.
    Prediction(&'a [DrawnPicture]),
    /// Sentences.
    Report,
    /// The end of a training, which its progress display shows too.
    Trained(&'a TrainReport),
    /// Rows under a header.
    Table(Table),
    /// What data was chosen, and the same in rows.
    Data(&'a DataReport, Table),
    /// The answers to samples, and their mean scores in rows.
    Predictions(&'a Predicted, Table),
    /// A value over the optimizer steps.
    Series(&'a Plot),
    /// The curves of several trainings.
    Overlay(&'a Overlay),
    /// What a sweep has found.
    Sweep(&'a SweepReport),
    /// A picture's file.
    Picture(&'a Path),
    /// An encoded sample.
    Sample(&'a SampleReport),
    /// Samples with a high loss.
    Worst(&'a WorstReport),
    /// What a range test has found.
    RangeTest(&'a RangeReport),
    /// Several answers to one question.
    Comparison(&'a CompareReport),
    /// Probes and how their answers change.
    Probes(&'a Probes),
    /// Contents by media type; pictures are in base64.
    Media(&'a [(String, String)]),
    /// What was shown so far is to go.
    Clear,
    /// Every line is a message until the user ends it.
    Conversation,
    /// The page that drives the session is wanted.
    Panel,
    /// The session is left.
    Quit,
}

impl<'a> View<'a> {
    /// What `output` is, with the words of a table in `lang`.
    pub fn of(output: &'a Output, lang: Lang) -> Self {
        match output {
            Output::Nothing | Output::Wait => Self::Nothing,
            Output::Text(text) => Self::Stdout(text),
            Output::Stderr(line) => Self::Stderr(line),
            Output::Written { text, is_error } => Self::Written { text, is_error: *is_error },
            Output::Aside(text) => Self::Aside(text),
            Output::Step(_) | Output::Evaluation(_) | Output::Probed(_) => Self::Log,
            Output::Answer(report) if report.tokens.is_empty() && report.regions.is_empty() => {
                Self::Answer(&report.pictures)
            }
            Output::Answer(report) => Self::DetailedAnswer(report),
            Output::Prediction(report) => Self::Prediction(&report.pictures),
            Output::Data(report) => text::table(output, lang).map_or(Self::Report, |table| Self::Data(report, table)),
            Output::Predicted(made) => {
                text::table(output, lang).map_or(Self::Report, |table| Self::Predictions(made, table))
            }
            Output::Table(_) | Output::Adapters(_) | Output::Evaluated(_) | Output::Evaluations(_) => {
                text::table(output, lang).map_or(Self::Report, Self::Table)
            }
            Output::Loaded(_)
            | Output::Adapter(_)
            | Output::Resumed(_)
            | Output::Saved(_)
            | Output::Exported(_)
            | Output::Pushed(_)
            | Output::Undone(_)
            | Output::Workers(_)
            | Output::Serving(_)
            | Output::Started { .. }
            | Output::Job(_)
            | Output::Status(_) => Self::Report,
            Output::Trained(report) => Self::Trained(report),
            Output::Plot(plot) => Self::Series(plot),
            Output::Overlay(overlay) => Self::Overlay(overlay),
            Output::Sweep(report) => Self::Sweep(report),
            Output::RangeTest(report) => Self::RangeTest(report),
            Output::Picture(path) => Self::Picture(path),
            Output::Sample(report) => Self::Sample(report),
            Output::Worst(report) => Self::Worst(report),
            Output::Compared(report) => Self::Comparison(report),
            Output::Probes(report) => Self::Probes(report),
            Output::Display(contents) => Self::Media(contents),
            Output::Clear => Self::Clear,
            Output::Conversation => Self::Conversation,
            Output::Panel => Self::Panel,
            Output::Quit => Self::Quit,
        }
    }
}
