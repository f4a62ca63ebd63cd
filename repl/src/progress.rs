//! Progress bars for commands that take a while.

use std::time::Duration;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::Language;
use tunebook_commands::Localize;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::printable;
use tunebook_commands::quantities::seconds;
use tunebook_engine::Task;
use tunebook_engine::hub::decimal_size;
use tunebook_view::Activity;
use tunebook_view::Progress;
use tunebook_view::Training;

const REDRAW: Duration = Duration::from_millis(120);
/// The length of a bar of parts.
const WHOLE: u64 = 1_000_000;

/// The progress of a request as a bar on standard error: at most one at a time.
pub(crate) struct Bars {
    live: bool,
    language: Language,
    bar: Option<ProgressBar>,
    kind: Kind,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Waiting,
    Task(Task),
    Answers,
    Download,
    Training,
}

impl Bars {
    pub(crate) fn new(live: bool, language: Language) -> Self {
        Self { live, language, bar: None, kind: Kind::Waiting, progress: Progress::start() }
    }

    /// Nothing is heard: shows the time that has passed.
    pub(crate) fn wait(&mut self) {
        let lang = self.language.get();
        if self.live && self.bar.is_none() {
            let bar = self.begin(Kind::Waiting, ProgressBar::new_spinner(), "{spinner} {elapsed} {msg}");
            bar.set_message(localized("(Ctrl-C stops)", "（Ctrl-C 停止）").in_lang(lang));
            bar.enable_steady_tick(REDRAW);
        }
    }

    /// Takes in what the request tells.
    pub(crate) fn event(&mut self, event: &Event) {
        self.progress.event(event);
    }

    /// Draws what goes on, once it has gone on for long enough.
    pub(crate) fn draw(&mut self) {
        if !self.live || !self.progress.is_worth_showing() {
            return;
        }
        let lang = self.language.get();
        match (&self.progress.activity, &self.progress.training) {
            (&Some(Activity::Task { task, done, total }), _) => self.task(task, done, total, lang),
            (Some(answers @ Activity::Answers { part, .. }), _) => self.answers(*part, answers.title(lang)),
            (&Some(Activity::Download { ref file, done, size, all_done, all }), _) => {
                let message = format!("{}  {} / {}", printable(file), decimal_size(done), decimal_size(size));
                self.download(message, all_done, all, lang);
            }
            (None, Some(training)) => {
                let (part, prefix, message) = (training.part(), step(training, lang), numbers(training, lang));
                self.training(part, prefix, message);
            }
            (None, None) => {}
        }
    }

    fn task(&mut self, task: Task, done: usize, total: usize, lang: Lang) {
        if self.kind != Kind::Task(task) || self.bar.is_none() {
            let template =
                localized("{msg} {bar:30} {pos}/{len}  {eta} left", "{msg} {bar:30} {pos}/{len}  剩余 {eta}");
            let bar = self.begin(Kind::Task(task), ProgressBar::new(total as u64), template.in_lang(lang));
            bar.set_message(task.localize(lang));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    fn answers(&mut self, part: f64, title: String) {
        if self.kind != Kind::Answers || self.bar.is_none() {
            self.begin(Kind::Answers, ProgressBar::new(WHOLE), "{bar:30} {wide_msg}");
        }
        if let Some(bar) = &self.bar {
            bar.set_message(title);
            bar.set_position((part * WHOLE as f64) as u64);
        }
    }

    fn download(&mut self, message: String, all_done: u64, all: u64, lang: Lang) {
        if self.kind != Kind::Download || self.bar.is_none() {
            let template = localized(
                "{msg}\n{bar:30} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left",
                "{msg}\n{bar:30} {decimal_bytes} / {decimal_total_bytes}  {decimal_bytes_per_sec}  剩余 {eta}",
            );
            // What was there before has no rate.
            let bar = ProgressBar::new(all).with_position(all_done);
            self.begin(Kind::Download, bar, template.in_lang(lang)).reset_eta();
        }
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.set_position(all_done);
        }
    }

    fn training(&mut self, part: f64, prefix: String, message: String) {
        if self.kind != Kind::Training || self.bar.is_none() {
            self.begin(Kind::Training, ProgressBar::new(WHOLE), "{prefix} {bar:12} {wide_msg}");
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix(prefix);
            bar.set_message(message);
            bar.set_position((part * WHOLE as f64) as u64);
        }
    }

    /// Writes something above the bar.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
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

/// A training in one line, with its bar.
pub(crate) fn line(progress: &Progress, lang: Lang) -> String {
    const WIDTH: f64 = 12.0;
    let Some(training) = &progress.training else { return String::new() };
    let full = (training.part() * WIDTH) as usize;
    let bar = "━".repeat(full) + &"─".repeat(WIDTH as usize - full);
    let numbers = match &progress.activity {
        Some(activity) => activity.title(lang),
        None => numbers(training, lang),
    };
    format!("{} {bar} {numbers}", step(training, lang))
}

fn step(training: &Training, lang: Lang) -> String {
    let (step, total) = (training.step, training.total_steps);
    localized!(lang, "step {step}/{total}", "步 {step}/{total}")
}

/// What is known of a training, in one line.
fn numbers(training: &Training, lang: Lang) -> String {
    let (last, total) = (training.records.last(), training.total);
    let left = training.left().map_or_else(|| "…".to_string(), |left| seconds(left, lang));
    let numbers = [
        (total > 1).then(|| format!("{}/{total}", training.done.floor())),
        last.map(|last| localized!(lang, "loss {loss:.3}", "损失 {loss:.3}", loss = last.loss())),
        training.evaluations.last().map(|(_, loss)| localized!(lang, "eval_loss {loss:.3}", "评估损失 {loss:.3}")),
        Some(localized!(lang, "{left} left", "剩余 {left}")),
        training.tokens_per_second().map(|rate| localized!(lang, "{rate:.0} tok/s", "{rate:.0} token/秒")),
        last.map(|last| localized!(lang, "lr {lr:.1e}", "学习率 {lr:.1e}", lr = last.learning_rate)),
    ];
    numbers.into_iter().flatten().collect::<Vec<_>>().join("  ")
}
