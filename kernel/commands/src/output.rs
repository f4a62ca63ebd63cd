//! The answers of commands, for a face to draw.

use std::path::PathBuf;

use tunebook_engine::report::AdapterReport;
use tunebook_engine::report::ChatReport;
use tunebook_engine::report::CompareReport;
use tunebook_engine::report::DataReport;
use tunebook_engine::report::EvaluateReport;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::ExportReport;
use tunebook_engine::report::LoadReport;
use tunebook_engine::report::PredictReport;
use tunebook_engine::report::Prediction;
use tunebook_engine::report::ResumeReport;
use tunebook_engine::report::SampleReport;
use tunebook_engine::report::SaveReport;
use tunebook_engine::report::Status;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TrainReport;

/// What a command answers. [`crate::text::render`] writes each as plain text.
#[derive(Clone, Debug)]
pub enum Output {
    Nothing,
    Text(String),
    Table(Table),
    Loaded(LoadReport),
    Data(DataReport),
    Sample(SampleReport),
    /// The adapter that was turned on.
    Adapter(AdapterReport),
    Adapters(Vec<AdapterReport>),
    /// A line of the training's log: the last step of a window of `logging_steps`, with the window's mean loss.
    Step(StepRecord),
    /// An evaluation in the course of a training.
    Evaluation(EvaluationRecord),
    Trained(TrainReport),
    Resumed(Box<ResumeReport>),
    Plot(Plot),
    Evaluated(EvaluateReport),
    /// One of those that are shown as they come.
    Prediction(Prediction),
    Predicted(PredictReport),
    Compared(CompareReport),
    /// What a question is about, for a face that can show it.
    Picture(PathBuf),
    /// The answer's text was streamed already.
    Answer(ChatReport),
    /// A conversation is asked for: every line is a message until the user ends it.
    Conversation,
    Saved(SaveReport),
    Exported(ExportReport),
    Status(Box<Status>),
    /// What a Rust cell displays: contents by MIME type; pictures are in base64.
    Display(Vec<(String, String)>),
    /// A line of a Rust cell's standard error.
    Stderr(String),
    /// What was shown so far is to go.
    Clear,
    Quit,
}

/// Rows of words under a header.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub title: String,
    pub headers: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    /// A line below the table.
    pub note: String,
}

/// A value over the optimizer steps.
#[derive(Clone, Debug)]
pub struct Plot {
    /// `loss`, `eval_loss`, `learning_rate` or `grad_norm`.
    pub name: &'static str,
    pub steps: Vec<f64>,
    pub values: Vec<f64>,
    /// The same values smoothed as LLaMA-Factory does; empty where that is not done.
    pub smoothed: Vec<f64>,
    /// Beside the loss of the training: the steps of evaluations and what they found.
    pub evaluations: Vec<(f64, f64)>,
    /// Where it was drawn to.
    pub file: Option<PathBuf>,
}
