//! What a command has told of itself so far.

use std::time::Duration;
use std::time::Instant;

use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::output::Overlay;
use tunebook_commands::output::OverlayAxis;
use tunebook_commands::output::OverlayCurve;
use tunebook_commands::text::trial;
use tunebook_engine::advice::MemoryEstimate;
use tunebook_engine::report::TrainReport;

use crate::activity::Activity;
use crate::training::Losses;
use crate::training::Training;

/// What takes no longer than that is not shown, but for a training.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// The state of a command's progress display, made of the command's events; a face draws it when it likes.
pub struct Progress {
    started: Instant,
    /// Since when answers are predicted.
    predicting: Option<Instant>,
    /// What goes on now, apart from micro-batches.
    pub activity: Option<Activity>,
    /// What the training takes of the memory.
    pub plan: Option<MemoryEstimate>,
    /// The answers of a comparison so far, each with the name of who gives it.
    pub answers: Vec<(String, String)>,
    /// What a training goes on from, until it does.
    earlier: Losses,
    /// The training, from its first micro-batch on.
    pub training: Option<Training>,
    /// The trainings of a sweep that are over, and the one that goes on.
    pub sweep: Option<SweepProgress>,
}

/// How far a sweep is.
pub struct SweepProgress {
    pub number: usize,
    pub total: usize,
    /// The settings of the training that goes on.
    pub settings: String,
    /// The losses of those before it.
    pub curves: Vec<OverlayCurve>,
}

impl SweepProgress {
    /// Which training goes on.
    pub fn title(&self, lang: Lang) -> String {
        trial(self.number, self.total, &self.settings, lang)
    }

    /// The curves of all trainings so far.
    pub fn overlay(&self, training: &Training) -> Overlay {
        let now = training.curve(&self.settings);
        Overlay { name: "loss", x: OverlayAxis::Step, curves: [&self.curves[..], &[now]].concat(), file: None }
    }
}

impl Progress {
    /// Of a command that begins now.
    pub fn start() -> Self {
        let started = Instant::now();
        Self {
            started,
            predicting: None,
            activity: None,
            plan: None,
            answers: Vec::new(),
            earlier: Losses::default(),
            training: None,
            sweep: None,
        }
    }

    /// The training that is told, or one that begins now.
    fn training(&mut self, step: usize, done: f64, elapsed: Duration) -> &mut Training {
        let earlier = std::mem::take(&mut self.earlier);
        self.training.get_or_insert_with(|| Training::new(step, done, elapsed, earlier))
    }

    /// Takes in what the command tells.
    pub fn event(&mut self, event: &Event) {
        match event {
            &Event::Progress { task, done, total } => self.activity = Some(Activity::Task { task, done, total }),
            &Event::Predicting { done, total, part } => {
                let elapsed = self.predicting.get_or_insert_with(Instant::now).elapsed();
                self.activity = Some(Activity::Answers { done, total, part, elapsed });
            }
            &Event::Download { ref file, done, size, all_done, all } => {
                self.activity = Some(Activity::Download { file: file.clone(), done, size, all_done, all });
            }
            &Event::MicroBatch { step, last_step, total_steps, done, total, elapsed } => {
                let training = self.training(step, done, elapsed);
                training.go_on(step, done, elapsed);
                (training.step, training.last_step, training.total_steps) = (step, last_step, total_steps);
                (training.done, training.total, training.elapsed) = (done, total, elapsed);
                self.activity = None;
            }
            Event::Earlier { losses, evaluations } => {
                self.earlier = Losses { steps: losses.clone(), evaluations: evaluations.clone() };
            }
            Event::Trial { number, total, settings } => {
                let before = (self.sweep.take(), self.training.take());
                let curves = match before {
                    (Some(sweep), Some(training)) => {
                        let curve = training.curve(&sweep.settings);
                        sweep.curves.into_iter().chain([curve]).collect()
                    }
                    (sweep, _) => sweep.map(|sweep| sweep.curves).unwrap_or_default(),
                };
                self.activity = None;
                self.sweep = Some(SweepProgress { number: *number, total: *total, settings: settings.clone(), curves });
            }
            Event::Step(record) => {
                if let Some(training) = &mut self.training {
                    training.records.push(record.clone());
                }
            }
            Event::Evaluated(record) => {
                self.activity = None;
                if let Some(training) = &mut self.training {
                    training.evaluations.push((record.step as f64, record.loss));
                }
            }
            Event::Probed(record) => {
                (self.activity, self.predicting) = (None, None);
                self.training(record.step + 1, 0.0, Duration::ZERO).probes.push(record.clone());
            }
            Event::MemoryEstimate(plan) => self.plan = Some(plan.clone()),
            Event::Answering(name) => self.answers.push((name.clone(), String::new())),
            Event::Text(piece) => {
                if let Some((_, answer)) = self.answers.last_mut() {
                    answer.push_str(piece);
                }
            }
            Event::Note(_) | Event::Estimate { .. } | Event::Advice(_) => {}
        }
    }

    /// The training is over; another call of `train` may go on with it.
    pub fn end(&mut self, report: TrainReport) {
        self.activity = None;
        if let Some(training) = &mut self.training {
            training.report = Some(report);
        }
    }

    /// What went on is over, and of a training nothing else is told.
    pub fn stop(&mut self) {
        self.activity = None;
        if let Some(training) = &mut self.training {
            training.is_over = true;
        }
    }

    /// Whether text that comes is an answer among others.
    pub fn is_comparing(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Whether the command has gone on for long enough to be shown; a training is shown at once.
    pub fn is_worth_showing(&self) -> bool {
        self.training.is_some() || self.started.elapsed() >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use tunebook_engine::Task;

    use super::*;

    #[test]
    fn what_was_told_last_is_what_goes_on() {
        let mut progress = Progress::start();
        progress.event(&Event::Progress { task: Task::Encoding, done: 1, total: 2 });
        let file = "a.json".to_string();
        progress.event(&Event::Download { file, done: 1, size: 2, all_done: 1, all: 2 });
        assert!(matches!(progress.activity, Some(Activity::Download { .. })));
        assert!(!progress.is_worth_showing());
        progress.event(&Event::MicroBatch {
            step: 1,
            last_step: 4,
            total_steps: 4,
            done: 0.0,
            total: 1,
            elapsed: Duration::ZERO,
        });
        assert!(progress.activity.is_none() && progress.is_worth_showing());
    }

    #[test]
    fn pieces_of_text_belong_to_the_answer_that_was_announced() {
        let mut progress = Progress::start();
        progress.event(&Event::Text("no answer".into()));
        assert!(!progress.is_comparing());
        for event in [Event::Answering("base".into()), Event::Text("A ".into()), Event::Text("cat".into())] {
            progress.event(&event);
        }
        assert_eq!(progress.answers, [("base".to_string(), "A cat".to_string())]);
    }
}
