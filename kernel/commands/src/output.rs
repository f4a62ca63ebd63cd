//! The answers of commands, for a face to draw.

use std::path::PathBuf;

use serde::Serialize;
use tunebook_engine::hub::push::PushReport;
use tunebook_engine::output::plot::Curve;
use tunebook_engine::output::plot::Figure;
use tunebook_engine::probes::Probe;
use tunebook_engine::probes::ProbeRecord;
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
use tunebook_engine::report::UndoReport;
use tunebook_engine::report::WorkersReport;
use tunebook_engine::report::WorstReport;
use tunebook_engine::serialize;

use crate::jobs::JobReport;
use crate::serving::ServeReport;
use crate::sweep::RangeReport;
use crate::sweep::SweepReport;

/// The workers of a session.
#[derive(Clone, Debug, Serialize)]
pub struct Workers {
    pub workers: WorkersReport,
    /// Batch size, accumulation and world_size, whose product is the samples of an optimizer step.
    pub step: [usize; 3],
}

/// The answer of a command. [`crate::text::render`] writes each as plain text.
#[derive(Clone, Debug, Serialize)]
pub enum Output {
    Nothing,
    Text(String),
    Table(Table),
    Loaded(LoadReport),
    Data(Box<DataReport>),
    Sample(SampleReport),
    /// The adapter that was turned on.
    Adapter(AdapterReport),
    Adapters(Vec<AdapterReport>),
    /// A line of the training log: the last step of a window of `logging_steps`, with the mean loss of the window.
    Step(StepRecord),
    /// An evaluation during a training.
    Evaluation(EvaluationRecord),
    /// The answers to probes during a training.
    Probed(ProbeRecord),
    Probes(Probes),
    Trained(TrainReport),
    /// The training of the active adapter is at another step.
    Undone(UndoReport),
    /// The workers of the session, if it has any.
    Workers(Option<Workers>),
    /// The server of the session, if it has one.
    Serving(Option<ServeReport>),
    /// A training has begun in the background, and goes on to this step.
    Started {
        adapter: String,
        step: usize,
        last_step: usize,
    },
    /// The training that runs, or else the last one.
    Job(Option<JobReport>),
    /// The request waits for the training that runs, and ends with it.
    Wait,
    Resumed(Box<ResumeReport>),
    Plot(Plot),
    Overlay(Overlay),
    Sweep(Box<SweepReport>),
    RangeTest(Box<RangeReport>),
    Evaluated(EvaluateReport),
    /// Several of them in one table, which a face makes that can take back what it has shown.
    Evaluations(Vec<EvaluateReport>),
    Worst(WorstReport),
    /// One prediction, shown as soon as it is made.
    Prediction(Prediction),
    Predicted(Predicted),
    Compared(CompareReport),
    /// An image of a question, for a face that can show it.
    Picture(#[serde(serialize_with = "serialize::path")] PathBuf),
    /// The report of an answer whose text has been streamed already.
    Answer(ChatReport),
    /// The user wants a conversation: every line is a message until the user ends it.
    Conversation,
    /// The user wants the page that drives the session.
    Panel,
    Saved(SaveReport),
    Exported(ExportReport),
    Pushed(Box<PushReport>),
    Status(Box<Status>),
    /// The display of a Rust cell: contents by MIME type; images are in base64.
    Display(Vec<(String, String)>),
    /// A part of what a Rust cell has written to standard output or standard error, with its line feeds.
    Written {
        text: String,
        is_error: bool,
    },
    /// What the user should know that is no answer.
    Aside(String),
    /// A line for standard error.
    Stderr(String),
    /// Clear what was shown so far.
    Clear,
    Quit,
}

/// What `predict` has found.
#[derive(Clone, Debug, Serialize)]
pub struct Predicted {
    #[serde(flatten)]
    pub report: PredictReport,
    /// In the order of the samples.
    pub predictions: Vec<Prediction>,
}

/// Probes of the session, and their answers in the training of the active adapter.
#[derive(Clone, Debug, Serialize)]
pub struct Probes {
    /// All of them, or one that was given just now.
    pub probes: Vec<Probe>,
    /// The number of the first of them.
    pub first: usize,
    /// By step; none where only the probes are asked for.
    pub records: Vec<ProbeRecord>,
}

/// Rows of words under a header.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    pub title: String,
    pub headers: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    /// A note below the table.
    pub note: String,
}

/// The curves of several trainings.
#[derive(Clone, Debug, Serialize)]
pub struct Overlay {
    /// `loss`, `eval_loss`, `learning_rate` or `grad_norm`.
    pub name: &'static str,
    pub x: OverlayAxis,
    pub curves: Vec<OverlayCurve>,
    /// The file that it was drawn to.
    #[serde(serialize_with = "serialize::optional_path")]
    pub file: Option<PathBuf>,
}

/// What the curves of an [`Overlay`] are drawn over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OverlayAxis {
    Step,
    /// On a logarithmic scale.
    LearningRate,
}

/// A curve among others. Points are by ascending x.
#[derive(Clone, Debug, Serialize)]
pub struct OverlayCurve {
    pub label: String,
    pub points: Vec<(f64, f64)>,
    /// The same, smoothed as in LLaMA-Factory; empty if they are not smoothed.
    pub smoothed: Vec<(f64, f64)>,
    /// For the training loss: the steps of evaluations and their losses.
    pub evaluations: Vec<(f64, f64)>,
}

impl OverlayCurve {
    /// The points that are drawn as the line.
    pub fn line(&self) -> &[(f64, f64)] {
        if self.smoothed.is_empty() { &self.points } else { &self.smoothed }
    }
}

impl Overlay {
    /// As a chart for a file.
    pub fn figure(&self) -> Figure {
        let (title, y_label) = (format!("training {}", self.name), self.name.to_string());
        let (x_label, is_x_logarithmic) = match self.x {
            OverlayAxis::Step => ("step".to_string(), false),
            OverlayAxis::LearningRate => ("learning rate".to_string(), true),
        };
        let curves = |(colour, curve): (usize, &OverlayCurve)| {
            let of = |label: String, opacity, has_dots, points: &[(f64, f64)]| Curve {
                label,
                colour,
                opacity,
                has_dots,
                points: points.to_vec(),
            };
            let mut curves = vec![of(curve.label.clone(), 1.0, false, curve.line())];
            if !curve.smoothed.is_empty() && self.curves.len() == 1 {
                curves.insert(0, of("original".to_string(), 0.4, false, &curve.points));
            }
            if !curve.evaluations.is_empty() {
                curves.push(of(format!("{}, eval_loss", curve.label), 0.6, true, &curve.evaluations));
            }
            curves
        };
        let curves = self.curves.iter().enumerate().flat_map(curves).collect();
        Figure { title, x_label, y_label, is_x_logarithmic, curves }
    }
}

/// A value over the optimizer steps.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    /// `loss`, `eval_loss`, `learning_rate` or `grad_norm`.
    pub name: &'static str,
    pub steps: Vec<f64>,
    pub values: Vec<f64>,
    /// The same values, smoothed as in LLaMA-Factory; empty if they are not smoothed.
    pub smoothed: Vec<f64>,
    /// For the training loss: the steps of evaluations and their losses.
    pub evaluations: Vec<(f64, f64)>,
    /// The file that it was drawn to.
    #[serde(serialize_with = "serialize::optional_path")]
    pub file: Option<PathBuf>,
}
