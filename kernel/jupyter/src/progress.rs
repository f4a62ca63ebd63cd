//! The progress of a command as one display that is drawn again and again, and reads well when it is over.

use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::Language;
use tunebook_commands::Output;
use tunebook_commands::colourless;
use tunebook_commands::page::Page;
use tunebook_commands::text;
use tunebook_engine::probes::ProbeRecord;
use tunebook_engine::report::TrainReport;
use tunebook_view::Activity;
use tunebook_view::Progress;
use tunebook_view::Training;
use tunebook_view::html;
use uuid::Uuid;

/// The interval between two updates. All displays are drawn at the same times, so that iopub is quiet in between:
/// jupyter_client's `wait_for_ready`, with which a client attaches, waits until it has been so for 0.2 s.
const REDRAW: Duration = Duration::from_millis(400);
/// The bar in plain text, in characters.
const BAR: usize = 24;

/// The state of a command, reduced from its events.
pub(crate) struct ProgressDisplay {
    progress: Progress,
    language: Language,
    /// The display's id, and in which interval it was drawn last.
    drawn: Option<(String, u128)>,
    is_old: bool,
    settled: bool,
    /// What a sweep has found is shown beside this.
    is_reported: bool,
    probes: DrawnProbes,
}

/// The answers to probes as text and HTML: drawn when there are new ones, and not with every micro-batch.
#[derive(Default)]
struct DrawnProbes {
    records: usize,
    text: String,
    html: String,
}

impl DrawnProbes {
    fn update(&mut self, records: &[ProbeRecord], lang: Lang) {
        if records.len() != self.records {
            let page = Page { width: usize::MAX, color: false, lang };
            let line = |record: &ProbeRecord| format!("\n{}", text::render(&Output::Probed(record.clone()), page));
            let text = records.iter().map(line).collect();
            *self = Self { records: records.len(), text, html: html::probes(&[], records, lang) };
        }
    }
}

impl ProgressDisplay {
    pub(crate) fn new(language: Language) -> Self {
        Self {
            progress: Progress::start(),
            language,
            drawn: None,
            is_old: false,
            settled: false,
            is_reported: false,
            probes: DrawnProbes::default(),
        }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        self.is_old = true;
        self.progress.event(event);
    }

    /// Whether text that comes is an answer among others.
    pub(crate) fn is_comparing(&self) -> bool {
        self.progress.is_comparing()
    }

    pub(crate) fn is_training(&self) -> bool {
        self.progress.training.is_some()
    }

    /// The training is over.
    pub(crate) fn end(&mut self, report: TrainReport) {
        self.progress.end(report);
        self.settle();
    }

    /// What a Rust cell has asked for is over; it may ask for more.
    pub(crate) fn pause(&mut self, trained: Option<TrainReport>) {
        self.progress.stop();
        if let Some(report) = trained {
            self.progress.end(report);
        }
        self.is_old |= self.is_training();
    }

    /// What a sweep has found is shown now.
    pub(crate) fn report_sweep(&mut self) {
        (self.is_reported, self.is_old) = (true, true);
    }

    /// Ends the command: its last state is drawn without waiting for the interval.
    pub(crate) fn settle(&mut self) {
        if !self.settled {
            self.settled = true;
            // A task that was never shown stays so.
            self.is_old = self.progress.training.is_some() || self.drawn.is_some();
        }
    }

    /// What is to be drawn now: whether for the first time, under which id, and what.
    pub(crate) fn draw(&mut self) -> Option<(bool, String, Value)> {
        let is_due = match &self.drawn {
            _ if self.settled => true,
            Some((_, last)) => *last != interval(),
            None => self.progress.is_worth_showing(),
        };
        if !self.is_old || !is_due {
            return None;
        }
        let data = self.data(self.language.get())?;
        self.is_old = false;
        let first = self.drawn.is_none();
        let id = self.drawn.take().map_or_else(|| Uuid::new_v4().to_string(), |(id, _)| id);
        self.drawn = Some((id.clone(), interval()));
        Some((first, id, data))
    }

    /// The display by media type.
    fn data(&mut self, lang: Lang) -> Option<Value> {
        let is_comparing = self.is_comparing();
        let Progress { activity, plan, answers, training, sweep, .. } = &self.progress;
        let activity = activity.as_ref();
        let (text, html) = match (training, activity) {
            // The comparison itself, which comes now, holds the answers.
            _ if is_comparing && self.settled => Default::default(),
            // So it is with a sweep and its curves.
            _ if self.is_reported
                && let Some(sweep) = sweep =>
            {
                (sweep.title(lang), html::trial(sweep, lang))
            }
            _ if is_comparing => (answers_text(answers), html::answers(answers)),
            (Some(training), _) => {
                self.probes.update(&training.probes, lang);
                let html = html::training(training, activity, sweep.as_ref(), plan.as_ref(), &self.probes.html, lang);
                (training_text(training, activity, lang) + &self.probes.text, html)
            }
            // What it was for is shown now.
            (None, Some(_)) if self.settled => Default::default(),
            (None, Some(activity)) => (activity_text(activity, lang), html::activity(activity, lang)),
            (None, None) => return None,
        };
        Some(json!({"text/plain": colourless(&text), "text/html": html}))
    }
}

/// The number of the interval that passes now.
fn interval() -> u128 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_millis() / REDRAW.as_millis()
}

fn answers_text(answers: &[(String, String)]) -> String {
    let answers: Vec<_> = answers.iter().map(|(name, text)| format!("{name}\n{text}")).collect();
    answers.join("\n")
}

fn training_text(training: &Training, activity: Option<&Activity>, lang: Lang) -> String {
    let full = (training.part() * BAR as f64).round() as usize;
    let bar = "━".repeat(full) + &"─".repeat(BAR - full.min(BAR));
    let facts: String = training.facts(lang).iter().map(|(name, value)| format!(" · {name} {value}")).collect();
    format!("{} {bar}{facts}", training.title(activity, lang))
}

fn activity_text(activity: &Activity, lang: Lang) -> String {
    let lines: Vec<_> = activity.lines(lang).into_iter().map(|(line, _)| line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use tunebook_engine::Task;
    use tunebook_engine::report::EvaluationRecord;
    use tunebook_engine::report::StepRecord;
    use tunebook_engine::report::TrainEnd;
    use tunebook_view::PATIENCE;

    use super::*;
    use tunebook_engine::step_metrics::StepMetrics;

    fn step(progress: &mut ProgressDisplay, step: usize, loss: f64) {
        progress.event(&Event::MicroBatch {
            step,
            last_step: 4,
            total_steps: 40,
            done: 1.0,
            total: 1,
            elapsed: Duration::ZERO,
        });
        progress.event(&Event::Step(StepRecord {
            step,
            total_steps: 40,
            metrics: StepMetrics::of_loss(loss),
            grad_norm: 1.0,
            learning_rate: 1e-4,
            epoch: 0.1 * step as f64,
            tokens: 100 * step,
            elapsed: 0.5 * step as f64,
        }));
    }

    #[test]
    fn a_training_is_one_display_with_a_full_last_state() {
        let mut progress = ProgressDisplay::new(Language::new(Lang::En));
        step(&mut progress, 1, 3.0);
        let (first, id, data) = progress.draw().unwrap();
        assert!(first && data["text/plain"].as_str().unwrap().starts_with("step 1 of 40 ━───────────────────────"));
        step(&mut progress, 2, 2.0);
        progress.event(&Event::Evaluated(EvaluationRecord {
            step: 2,
            total_steps: 40,
            loss: 2.5,
            epoch: 0.2,
            tokens: 200,
            elapsed: 1.0,
            seconds: 0.1,
            samples: 4,
            batches: 2,
        }));
        // Too soon.
        assert!(progress.draw().is_none());
        step(&mut progress, 3, 1.0);
        progress.end(TrainReport {
            end: TrainEnd::Interrupted,
            steps: 3,
            step: 3,
            total_steps: 40,
            loss: Some(2.0),
            best: None,
            left_out: Vec::new(),
            tokens_per_second: 200.0,
            elapsed: Duration::from_millis(1500),
        });
        let (first, same, data) = progress.draw().unwrap();
        assert!(!first && same == id);
        assert_eq!(
            data["text/plain"].as_str().unwrap(),
            "step 3 of 40 ━━────────────────────── · loss 1.0000 · eval loss 2.5000 · learning rate 1.00e-4 · grad norm 1.000 · epoch 0.30 \
             · tokens/s 200 · took 1.50 s"
        );
        let html = data["text/html"].as_str().unwrap();
        assert!(html.contains("eval_loss: 2.5000 to 2.5000\"") && html.contains("width:7.5%"), "{html}");
        progress.settle();
        assert!(progress.draw().is_none());
    }

    #[test]
    fn answers_of_a_comparison_grow_and_make_room_for_it() {
        let mut progress = ProgressDisplay::new(Language::new(Lang::En));
        assert!(!progress.is_comparing());
        std::thread::sleep(PATIENCE);
        for event in [Event::Answering("base".into()), Event::Text("A ".into()), Event::Text("<cat>".into())] {
            progress.event(&event);
        }
        let (first, id, data) = progress.draw().unwrap();
        assert!(first && progress.is_comparing());
        assert_eq!(data["text/plain"], "base\nA <cat>");
        assert!(data["text/html"].as_str().unwrap().contains("A &lt;cat&gt;"), "{data}");
        progress.settle();
        assert_eq!(progress.draw().unwrap(), (false, id, json!({"text/plain": "", "text/html": ""})));
    }

    #[test]
    fn a_short_task_is_not_shown() {
        let mut progress = ProgressDisplay::new(Language::new(Lang::En));
        progress.event(&Event::Progress { task: Task::Encoding, done: 5, total: 10 });
        assert!(progress.draw().is_none());
        progress.settle();
        assert!(progress.draw().is_none());
    }
}
