//! The progress of a command as one display that is drawn again and again, and reads well when it is over.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::Language;
use tunebook_commands::Localize;
use tunebook_commands::colourless;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::quantities::seconds;
use tunebook_engine::Task;
use tunebook_engine::advice::MemoryEstimate;
use tunebook_engine::hub::decimal_size;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::report::TrainReport;
use uuid::Uuid;

use crate::comparison;
use crate::curve;
use crate::display::escape;

/// Shortest interval between two updates, since browsers draw each of them.
const REDRAW: Duration = Duration::from_millis(100);
/// Commands shorter than this show no progress, except a training.
const PATIENCE: Duration = Duration::from_millis(300);
/// The bar in plain text, in characters.
const BAR: usize = 24;

/// The state of a command, reduced from its events.
pub(crate) struct Progress {
    started: Instant,
    language: Language,
    task: Option<(Task, usize, usize)>,
    download: Option<Download>,
    /// The memory that the training takes.
    plan: Option<MemoryEstimate>,
    /// The answers of a comparison so far, each with the name of the adapter.
    answers: Vec<(String, String)>,
    training: Option<Training>,
    /// The display's id, and when it was drawn last.
    drawn: Option<(String, Instant)>,
    is_old: bool,
    settled: bool,
}

impl Progress {
    pub fn new(language: Language) -> Self {
        Self {
            started: Instant::now(),
            language,
            task: None,
            download: None,
            plan: None,
            answers: Vec::new(),
            training: None,
            drawn: None,
            is_old: false,
            settled: false,
        }
    }

    pub fn event(&mut self, event: Event) {
        self.is_old = true;
        match event {
            Event::Progress { task, done, total } => self.task = Some((task, done, total)),
            Event::Download { file, done, size, all_done, all } => {
                self.download = Some(Download { file, done, size, all_done, all });
            }
            Event::MicroBatch { step, last_step, total_steps, done, total } => {
                let training = self.training.get_or_insert_with(|| Training::new(step, done, total));
                (training.step, training.last_step, training.total_steps) = (step, last_step, total_steps);
                (training.done, training.total) = (done, total);
                self.task = None;
            }
            Event::Step(record) => {
                if let Some(training) = &mut self.training {
                    training.records.push(record);
                }
            }
            Event::Evaluated(record) => {
                self.task = None;
                if let Some(training) = &mut self.training {
                    training.evaluations.push((record.step as f64, record.loss));
                }
            }
            Event::MemoryEstimate(plan) => self.plan = Some(plan),
            Event::Answering(name) => self.answers.push((name, String::new())),
            Event::Text(piece) => {
                if let Some((_, answer)) = self.answers.last_mut() {
                    answer.push_str(&piece);
                }
            }
            Event::Note(_) | Event::Estimate { .. } | Event::Advice(_) => {}
        }
    }

    /// Whether text that comes is an answer among others.
    pub fn is_comparing(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The training is over.
    pub fn end(&mut self, report: TrainReport) {
        if let Some(training) = &mut self.training {
            training.report = Some(report);
        }
        self.settle();
    }

    /// Ends the command: its last state is drawn without waiting for the interval.
    pub fn settle(&mut self) {
        if !self.settled {
            self.settled = true;
            // A task that was never shown stays so.
            self.is_old = self.training.is_some() || self.drawn.is_some();
        }
    }

    /// What is to be drawn now: whether for the first time, under which id, and what.
    pub fn draw(&mut self) -> Option<(bool, String, Value)> {
        let is_due = match &self.drawn {
            _ if self.settled => true,
            Some((_, last)) => last.elapsed() >= REDRAW,
            None => self.training.is_some() || self.started.elapsed() >= PATIENCE,
        };
        if !self.is_old || !is_due {
            return None;
        }
        let data = match (&self.training, self.task, &self.download) {
            // The comparison itself, which comes now, holds the answers.
            _ if self.is_comparing() && self.settled => json!({"text/plain": "", "text/html": ""}),
            _ if self.is_comparing() => comparison::so_far(&self.answers),
            (Some(training), task, _) => training.data(task, self.plan.as_ref(), self.language.get()),
            (None, Some(task), _) => task_data(task, self.language.get()),
            (None, None, Some(download)) => download.data(self.language.get()),
            (None, None, None) => return None,
        };
        self.is_old = false;
        let first = self.drawn.is_none();
        let id = self.drawn.take().map_or_else(|| Uuid::new_v4().to_string(), |(id, _)| id);
        self.drawn = Some((id.clone(), Instant::now()));
        Some((first, id, data))
    }
}

/// A call of `train`.
struct Training {
    started: Instant,
    /// The step that was made first, and what of it was done then.
    first: (usize, f64),
    step: usize,
    last_step: usize,
    total_steps: usize,
    /// So much of `total` micro-batches.
    done: f64,
    total: usize,
    /// The steps of this call.
    records: Vec<StepRecord>,
    /// Steps of evaluations and what they found.
    evaluations: Vec<(f64, f64)>,
    report: Option<TrainReport>,
}

impl Training {
    fn new(step: usize, done: f64, total: usize) -> Self {
        Self {
            started: Instant::now(),
            first: (step, done),
            step,
            last_step: step,
            total_steps: step,
            done,
            total,
            records: Vec::new(),
            evaluations: Vec::new(),
            report: None,
        }
    }

    /// `task` is what goes on between two steps.
    fn data(&self, task: Option<(Task, usize, usize)>, plan: Option<&MemoryEstimate>, lang: Lang) -> Value {
        let task = task.filter(|_| self.report.is_none()).map(|task| task_text(task, lang));
        let task = task.as_deref();
        json!({"text/plain": self.text(task, lang), "text/html": self.html(task, plan, lang)})
    }

    /// The fraction of this call that is done, from 0 to 1.
    fn part(&self) -> f64 {
        let steps = (self.last_step + 1).saturating_sub(self.first.0).max(1);
        let made = (self.step - self.first.0.min(self.step)) as f64 + self.done / self.total.max(1) as f64;
        match &self.report {
            Some(report) if matches!(report.end, TrainEnd::Paused | TrainEnd::Finished) => 1.0,
            _ => (made / steps as f64).min(1.0),
        }
    }

    /// Name and value of what is known, in the order in which it is shown.
    fn facts(&self, lang: Lang) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(last) = self.records.last() {
            facts.push((localized("loss", "损失"), format!("{:.4}", last.loss())));
            let eval_loss = self.evaluations.last().map(|(_, loss)| format!("{loss:.4}"));
            facts.extend(eval_loss.map(|loss| (localized("eval loss", "评估损失"), loss)));
            facts.push((localized("learning rate", "学习率"), format!("{:.2e}", last.learning_rate)));
            facts.push((localized("grad norm", "梯度范数"), format!("{:.3}", last.grad_norm)));
            facts.push((localized("epoch", "轮"), format!("{:.2}", last.epoch)));
        }
        match (&self.report, self.rate()) {
            (Some(report), _) => {
                facts.push((localized("tokens/s", "token/秒"), format!("{:.0}", report.tokens_per_second)))
            }
            (None, Some(rate)) => facts.push((localized("tokens/s", "token/秒"), format!("{rate:.0}"))),
            (None, None) => {}
        }
        match &self.report {
            Some(report) => facts.push((localized("took", "用时"), seconds(report.elapsed, lang))),
            None => facts.extend(self.left().map(|left| (localized("left", "剩余"), seconds(left, lang)))),
        }
        facts.into_iter().map(|(name, value)| (name.in_lang(lang), value)).collect()
    }

    fn rate(&self) -> Option<f64> {
        let (first, last) = (self.records.first()?, self.records.last()?);
        let (tokens, elapsed) = (last.tokens - first.tokens, last.elapsed - first.elapsed);
        (elapsed > 0.0).then(|| tokens as f64 / elapsed)
    }

    /// Nothing while there is less than a micro-batch to tell from.
    fn left(&self) -> Option<Duration> {
        let behind = |step: usize, done: f64| (step.saturating_sub(self.first.0) * self.total) as f64 + done;
        let now = behind(self.step, self.done);
        let made = Some(now - self.first.1).filter(|made| *made >= 1.0)?;
        Some(self.started.elapsed().mul_f64((behind(self.last_step + 1, 0.0) - now).max(0.0) / made))
    }

    fn title(&self, task: Option<&str>, lang: Lang) -> String {
        let step = self.report.as_ref().map_or(self.step, |report| report.step);
        let window = match &self.report {
            _ if task.is_some() => format!(" · {}", task.unwrap_or_default()),
            None if self.total > 1 => localized!(
                lang,
                " · micro-batch {done} of {total}",
                " · 小批次 {done}/{total}",
                done = self.done.floor(),
                total = self.total
            ),
            _ => String::new(),
        };
        let total = self.total_steps;
        localized!(lang, "step {step} of {total}{window}", "第 {step} 步，共 {total} 步{window}")
    }

    fn text(&self, task: Option<&str>, lang: Lang) -> String {
        let full = (self.part() * BAR as f64).round() as usize;
        let bar = "━".repeat(full) + &"─".repeat(BAR - full.min(BAR));
        let facts: String = self.facts(lang).iter().map(|(name, value)| format!(" · {name} {value}")).collect();
        format!("{} {bar}{facts}", self.title(task, lang))
    }

    fn html(&self, task: Option<&str>, plan: Option<&MemoryEstimate>, lang: Lang) -> String {
        let facts: String = self
            .facts(lang)
            .iter()
            .map(|(name, value)| {
                format!("<span><span style=\"opacity:.65\">{name}</span> <b>{}</b></span>", escape(value))
            })
            .collect();
        let steps: Vec<_> = self.records.iter().map(|record| record.step as f64).collect();
        let losses: Vec<_> = self.records.iter().map(StepRecord::loss).collect();
        let curve =
            if losses.is_empty() { String::new() } else { curve::svg("loss", &steps, &losses, &[], &self.evaluations) };
        let plan = plan.map(|plan| format!("<div style=\"opacity:.65\">{}</div>", escape(&plan.localize(lang))));
        format!(
            "<div style=\"max-width:600px\">{}\
             <div style=\"display:flex;gap:2px 16px;flex-wrap:wrap;font-variant-numeric:tabular-nums;margin:4px 0\">\
             <b>{}</b>{facts}</div>{curve}{}</div>",
            bar(self.part()),
            self.title(task, lang),
            plan.unwrap_or_default(),
        )
    }
}

/// The download of a file, and of all files.
struct Download {
    file: String,
    done: u64,
    size: u64,
    all_done: u64,
    all: u64,
}

impl Download {
    fn data(&self, lang: Lang) -> Value {
        let of = |done: u64, all: u64| {
            let (done, all) = (decimal_size(done), decimal_size(all));
            localized!(lang, "{done} of {all}", "{done} / {all}")
        };
        let file = format!("{} {}", self.file, of(self.done, self.size));
        let all = of(self.all_done, self.all);
        let all = localized!(lang, "all files {all}", "所有文件 {all}");
        let part = |done: u64, all: u64| done as f64 / all.max(1) as f64;
        let line = |text: &str, part: f64| format!("{}<div>{}</div>", bar(part), escape(text));
        json!({
            "text/plain": colourless(&format!("{file}\n{all}")),
            "text/html": format!(
                "<div style=\"max-width:600px\">{}{}</div>",
                line(&file, part(self.done, self.size)),
                line(&all, part(self.all_done, self.all)),
            ),
        })
    }
}

fn task_text((task, done, total): (Task, usize, usize), lang: Lang) -> String {
    let task = task.localize(lang);
    localized!(lang, "{task} {done} of {total}", "{task} {done}/{total}")
}

fn task_data(task: (Task, usize, usize), lang: Lang) -> Value {
    let (_, done, total) = task;
    let part = done as f64 / total.max(1) as f64;
    let text = task_text(task, lang);
    json!({
        "text/plain": text,
        "text/html": format!("<div style=\"max-width:600px\">{}<div>{}</div></div>", bar(part), escape(&text)),
    })
}

fn bar(part: f64) -> String {
    format!(
        "<div style=\"height:6px;border-radius:3px;margin-top:6px;background:rgba(128,128,128,.25)\">\
         <div style=\"height:6px;border-radius:3px;width:{:.1}%;background:#1f77b4;background:{}\"></div></div>",
        100.0 * part.clamp(0.0, 1.0),
        curve::ACCENT,
    )
}

#[cfg(test)]
mod tests {
    use tunebook_engine::report::EvaluationRecord;

    use super::*;
    use tunebook_engine::step_metrics::StepMetrics;

    fn step(progress: &mut Progress, step: usize, loss: f64) {
        progress.event(Event::MicroBatch { step, last_step: 4, total_steps: 40, done: 1.0, total: 1 });
        progress.event(Event::Step(StepRecord {
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
        let mut progress = Progress::new(Language::new(Lang::En));
        step(&mut progress, 1, 3.0);
        let (first, id, data) = progress.draw().unwrap();
        assert!(first && data["text/plain"].as_str().unwrap().starts_with("step 1 of 40 ━━━━━━──────────────────"));
        step(&mut progress, 2, 2.0);
        progress.event(Event::Evaluated(EvaluationRecord {
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
            "step 3 of 40 ━━━━━━━━━━━━━━━━━━────── · loss 1.0000 · eval loss 2.5000 · learning rate 1.00e-4 · grad norm 1.000 · epoch 0.30 \
             · tokens/s 200 · took 1.50 s"
        );
        let html = data["text/html"].as_str().unwrap();
        assert!(html.contains("eval_loss</text><polyline") && html.contains("width:75.0%"), "{html}");
        progress.settle();
        assert!(progress.draw().is_none());
    }

    #[test]
    fn a_download_shows_the_file_and_all_of_them() {
        let (file, size, all) = ("model-00001-of-00002.safetensors".to_string(), 4_000_000_000, 8_000_000_000);
        let data = Download { file, done: 1_000_000_000, size, all_done: 1_500_000, all }.data(Lang::En);
        let text = "model-00001-of-00002.safetensors 1.00 GB of 4.00 GB\nall files 1.5 MB of 8.00 GB";
        assert_eq!(data["text/plain"].as_str().unwrap(), text);
        assert!(data["text/html"].as_str().unwrap().contains("width:25.0%"));
    }

    #[test]
    fn answers_of_a_comparison_grow_and_make_room_for_it() {
        let mut progress = Progress::new(Language::new(Lang::En));
        assert!(!progress.is_comparing());
        progress.started -= PATIENCE;
        for event in [Event::Answering("base".into()), Event::Text("A ".into()), Event::Text("<cat>".into())] {
            progress.event(event);
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
        let mut progress = Progress::new(Language::new(Lang::En));
        progress.event(Event::Progress { task: Task::Encoding, done: 5, total: 10 });
        assert!(progress.draw().is_none());
        progress.settle();
        assert!(progress.draw().is_none());
    }
}
