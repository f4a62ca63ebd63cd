//! Progress bars for commands that take a while.

use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use tunebook_commands::Language;
use tunebook_commands::Localize;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::printable;
use tunebook_commands::quantities::seconds;
use tunebook_engine::Task;
use tunebook_engine::hub::decimal_size;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::StepRecord;

const REDRAW: Duration = Duration::from_millis(120);
/// A micro-batch on the bar of a training.
const PARTS: f64 = 1000.0;
/// A task that ends sooner gets no bar.
const PATIENCE: Duration = Duration::from_millis(150);

/// At most one bar at a time, on standard error.
pub struct Progress {
    live: bool,
    language: Language,
    bar: Option<ProgressBar>,
    kind: Kind,
    start: Instant,
    training: Option<Training>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Waiting,
    Task(Task),
    Download,
    Training,
}

/// What the bar of a training is drawn from.
struct Training {
    /// When this call began with its first micro-batch, and what of which step was done then.
    start: Instant,
    first_step: usize,
    first_done: f64,
    /// Loss and learning rate of the last step.
    last: Option<(f64, f64)>,
    /// What the last evaluation found.
    eval_loss: Option<f64>,
    /// Tokens and seconds of the training before the first step of this call.
    before: Option<(usize, f64)>,
    rate: Option<f64>,
}

impl Progress {
    pub fn new(live: bool, language: Language) -> Self {
        Self { live, language, bar: None, kind: Kind::Waiting, start: Instant::now(), training: None }
    }

    /// Nothing is heard: shows the time that has passed.
    pub fn wait(&mut self) {
        let lang = self.language.get();
        if self.live && self.bar.is_none() {
            let bar = self.begin(Kind::Waiting, ProgressBar::new_spinner(), "{spinner} {elapsed} {msg}");
            bar.set_message(localized("(Ctrl-C stops)", "（Ctrl-C 停止）").in_lang(lang));
            bar.enable_steady_tick(REDRAW);
        }
    }

    /// `done` of `total` units of `task`.
    pub fn task(&mut self, task: Task, done: usize, total: usize) {
        if !self.live || self.start.elapsed() < PATIENCE {
            return;
        }
        if self.kind != Kind::Task(task) || self.bar.is_none() {
            let lang = self.language.get();
            let template =
                localized("{msg} {bar:30} {pos}/{len}  {eta} left", "{msg} {bar:30} {pos}/{len}  剩余 {eta}");
            let bar = self.begin(Kind::Task(task), ProgressBar::new(total as u64), template.in_lang(lang));
            bar.set_message(task.localize(lang));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    /// `done` of `size` bytes of a file have come, and `all_done` of `all` bytes of every file that is to come.
    pub fn download(&mut self, file: &str, done: u64, size: u64, all_done: u64, all: u64) {
        if !self.live || self.start.elapsed() < PATIENCE {
            return;
        }
        if self.kind != Kind::Download || self.bar.is_none() {
            let template = localized(
                "{msg}\n{bar:30} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left",
                "{msg}\n{bar:30} {decimal_bytes} / {decimal_total_bytes}  {decimal_bytes_per_sec}  剩余 {eta}",
            );
            let template = template.in_lang(self.language.get());
            // What was there before has no rate.
            self.begin(Kind::Download, ProgressBar::new(all).with_position(all_done), template).reset_eta();
        }
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}  {} / {}", printable(file), decimal_size(done), decimal_size(size)));
            bar.set_position(all_done);
        }
    }

    /// So much is `done` of `total` micro-batches of step `step`; this call ends with `last_step`.
    pub fn micro_batch(&mut self, step: usize, last_step: usize, total_steps: usize, done: f64, total: usize) {
        let training = self.training.get_or_insert_with(|| Training {
            start: Instant::now(),
            first_step: step,
            first_done: done,
            last: None,
            eval_loss: None,
            before: None,
            rate: None,
        });
        if !self.live {
            return;
        }
        let lang = self.language.get();
        let whole = ((last_step + 1 - training.first_step.min(last_step)) * total) as f64;
        let position = ((step - training.first_step) * total) as f64 + done;
        // A step that was begun before may have more micro-batches than the settings say now.
        let (made, left) = (position - training.first_done, (whole - position).max(0.0));
        // What has just begun says nothing of the rest.
        let left = match made {
            ..1.0 => "…".to_string(),
            _ => seconds(training.start.elapsed().mul_f64(left / made), lang),
        };
        let parts = [
            (total > 1).then(|| format!("{}/{total}", done.floor())),
            training.last.map(|(loss, _)| localized!(lang, "loss {loss:.3}", "损失 {loss:.3}")),
            training.eval_loss.map(|loss| localized!(lang, "eval_loss {loss:.3}", "评估损失 {loss:.3}")),
            Some(localized!(lang, "{left} left", "剩余 {left}")),
            training.rate.map(|rate| localized!(lang, "{rate:.0} tok/s", "{rate:.0} token/秒")),
            training.last.map(|(_, lr)| localized!(lang, "lr {lr:.1e}", "学习率 {lr:.1e}")),
        ];
        if self.kind != Kind::Training || self.bar.is_none() {
            self.begin(Kind::Training, ProgressBar::new((whole * PARTS) as u64), "{prefix} {bar:12} {wide_msg}");
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix(localized!(lang, "step {step}/{total_steps}", "步 {step}/{total_steps}"));
            bar.set_message(parts.into_iter().flatten().collect::<Vec<_>>().join("  "));
            bar.set_position((position * PARTS) as u64);
        }
    }

    /// An optimizer step is made.
    pub fn step(&mut self, record: &StepRecord) {
        let Some(training) = &mut self.training else { return };
        training.last = Some((record.loss(), record.learning_rate));
        if let Some((tokens, elapsed)) = training.before {
            training.rate = Some((record.tokens - tokens) as f64 / (record.elapsed - elapsed).max(1e-9));
        }
        training.before = Some((record.tokens, record.elapsed));
    }

    /// Held-out samples were evaluated.
    pub fn evaluated(&mut self, record: &EvaluationRecord) {
        if let Some(training) = &mut self.training {
            training.eval_loss = Some(record.loss);
        }
    }

    /// Writes something above the bar.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn begin(&mut self, kind: Kind, bar: ProgressBar, template: &str) -> &ProgressBar {
        self.clear();
        self.kind = kind;
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        self.bar.insert(bar)
    }
}
