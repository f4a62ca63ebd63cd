//! Event files for TensorBoard, under the tags of transformers' `TensorBoardCallback`, so that trainings of both lie side by
//! side: numbers when they are logged, the settings as text, and beside what transformers writes, the answers to probes with
//! their pictures.
//!
//! A training has a folder of its own, a run. It begins with an event that says so (`SessionLog.START`), and one more of
//! them has TensorBoard forget steps that were undone, or that were made behind the checkpoint that a training goes on
//! from. Nothing that was written is touched, since a TensorBoard that is open reads on from where it is. A session that
//! takes up a training goes on in its folder with a new file, since the last record of the old one may be cut off.

mod event;
mod folder;
mod record;

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use image::imageops;

use super::Trained;
use super::log::Entry;
use super::png;
use super::results::Results;
use super::trainer_state;
use crate::error::Error;
use crate::error::Result;
use crate::markdown::escaped;
use crate::markdown::shortened;
use crate::probes::Probe;
use crate::probes::ProbeAnswer;
use crate::probes::ProbeRecord;
use crate::resume;
use event::Value;

/// The most pixels of a side of a picture.
const PICTURE: u32 = 512;
/// The most characters of a question in a tag.
const QUESTION: usize = 80;

/// The event files of a training.
#[derive(Debug, Default)]
pub(super) struct TensorBoard {
    /// Where they lie; known when the first is written.
    run: Option<PathBuf>,
    /// The open file.
    file: Option<File>,
    /// How many entries of the log are written, and which answers to probes.
    entries: usize,
    probes: Vec<ProbeRecord>,
    /// The step from which on all is told again, or for the first time.
    first: Option<usize>,
    /// The training that this goes on with.
    resumed: Option<Resumed>,
}

/// What was known of a training when it was resumed.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) step: usize,
    /// Entries of its log.
    pub(super) entries: usize,
}

/// What is told of a training.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    /// Its log.
    pub(super) entries: &'a [Entry],
    pub(super) state: Trained<'a>,
    /// Its output folder.
    pub(super) output: &'a Path,
    /// The name of the model.
    pub(super) base_model: &'a str,
}

impl TensorBoard {
    /// That of a training which was resumed.
    pub(super) fn resume(resumed: Resumed) -> Self {
        Self { resumed: Some(resumed), ..Self::default() }
    }

    /// Writes what is new in the log and among the answers to probes.
    ///
    /// # Errors
    /// The disk refuses. What was not written is written by the next call.
    pub(super) fn follow(&mut self, told: Told) -> Result<()> {
        let (entries, probes) = (told.entries, &told.state.run.probes);
        if self.run.is_none() && entries.is_empty() && probes.is_empty() {
            return Ok(());
        }
        self.open(told)?;
        let (now, latest) = (seconds(SystemTime::now()), entries.last().map_or(0.0, elapsed));
        let mut events = Vec::new();
        for record in probes.iter().filter(|record| !self.probes.contains(record)) {
            let is_first = |probe: &Probe| {
                let before = self.probes.iter().chain(probes.iter().take_while(|other| other.step < record.step));
                before.flat_map(|record| &record.answers).all(|answer| answer.probe != *probe)
            };
            let values = record.answers.iter().flat_map(|answer| answered(answer, is_first(&answer.probe)));
            events.push(event::summary(now, record.step, values.collect()));
        }
        for entry in entries.iter().skip(self.entries) {
            // What is told later was logged that much earlier.
            let wall_time = now - (latest - elapsed(entry)).max(0.0);
            events.push(event::summary(wall_time, step(entry), scalars(&trainer_state::metrics(entry))));
        }
        self.write(&events)?;
        self.entries = entries.len();
        self.probes.clone_from(probes);
        Ok(())
    }

    /// Writes the results of a training that has ended, as transformers logs them.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn finish(&mut self, told: Told, results: &Results) -> Result<()> {
        self.open(told)?;
        self.write(&[event::summary(seconds(SystemTime::now()), told.state.run.step(), scalars(results))])
    }

    /// Takes back all that is behind `step`, after which the log has these entries. What comes next says so.
    ///
    /// The fast loader of TensorBoard knows nothing of it, but drops what it has of a tag from the step of a number on that
    /// comes again. So the last of each kind are told again.
    pub(super) fn take_back(&mut self, at: usize, entries: &[Entry]) {
        match (&self.run, &mut self.resumed) {
            (None, Some(resumed)) => {
                (resumed.step, resumed.entries) = (resumed.step.min(at), resumed.entries.min(entries.len()));
            }
            (None, None) => {}
            (Some(_), _) => {
                let last = |is_step| entries.iter().rfind(|entry| matches!(entry, Entry::Step(_)) == is_step).map(step);
                let probe = self.probes.iter().rfind(|record| record.step <= at).map(|record| record.step);
                let lasts = [last(true), last(false), probe].into_iter().flatten();
                self.rewind(lasts.min().unwrap_or(at + 1), entries);
            }
        }
    }

    /// Has all that is told of `first` and later steps be told again.
    fn rewind(&mut self, first: usize, entries: &[Entry]) {
        let before = entries.iter().take_while(|entry| step(entry) < first).count();
        self.entries = self.entries.min(before);
        self.probes.retain(|record| record.step < first);
        self.first = Some(self.first.map_or(first, |earlier| earlier.min(first)));
    }

    /// Begins a file where none is open, and says from which step on it tells, and what the settings are.
    fn open(&mut self, told: Told) -> Result<()> {
        if self.file.is_none() {
            self.new_file(told)?;
        }
        let Some(first) = self.first else { return Ok(()) };
        let now = seconds(SystemTime::now());
        let settings = vec![Value::text("args", &settings_table(told.state, told.base_model))];
        self.write(&[event::start(now, first), event::summary(now, first, settings)])?;
        self.first = None;
        Ok(())
    }

    fn new_file(&mut self, Told { entries, state, output, .. }: Told) -> Result<()> {
        let write_error = |path: &Path, source| Error::Write { path: path.to_path_buf(), source };
        let (known, is_resumed) = (self.run.is_some(), self.resumed.is_some());
        let run = self.run.get_or_insert_with(|| folder::of(output, state.settings, is_resumed)).clone();
        let last = folder::last_step(&run).map_err(|source| write_error(&run, source))?;
        // The first step that is not told, or that is told of a future that was left.
        let first = match (last, &self.resumed) {
            (Some(last), Some(resumed)) if !known => {
                self.entries = resumed.entries;
                self.probes.clone_from(&state.run.probes);
                last.min(resumed.step) + 1
            }
            // After an error of the disk nobody knows how much of the last part is there.
            (Some(_), _) if known => entries.get(self.entries).map_or(usize::MAX, step).min(state.run.step()),
            _ => 0,
        };
        self.rewind(first, entries);
        let now = SystemTime::now();
        let path = folder::new_file(&run, now);
        let file = std::fs::create_dir_all(&run)
            .and_then(|()| OpenOptions::new().create_new(true).append(true).open(&path))
            .map_err(|source| write_error(&path, source))?;
        self.file = Some(file);
        self.write(&[event::version(seconds(now))])
    }

    /// In one piece, so that who follows the file sees whole records. A file that could not be written is left.
    fn write(&mut self, events: &[Vec<u8>]) -> Result<()> {
        let (Some(file), Some(run)) = (&mut self.file, &self.run) else { return Ok(()) };
        let records: Vec<u8> = events.iter().flat_map(|event| record::record(event)).collect();
        file.write_all(&records).map_err(|source| {
            self.file = None;
            Error::Write { path: run.clone(), source }
        })
    }
}

/// `loss` becomes `train/loss`, and `eval_loss` becomes `eval/loss`, as transformers' `rewrite_logs` has it.
fn scalars(metrics: &Results) -> Vec<Value> {
    let numbers = metrics.iter().filter(|(name, _)| *name != "step");
    let tagged = numbers.map(|(name, value)| {
        let tag = name.strip_prefix("eval_").map_or_else(|| format!("train/{name}"), |name| format!("eval/{name}"));
        // JSON has no NaN, and a null in its place.
        Value::scalar(&tag, value.as_f64().unwrap_or(f64::NAN))
    });
    tagged.collect()
}

/// An answer, and at the first time the pictures of its probe.
fn answered(answer: &ProbeAnswer, is_first: bool) -> Vec<Value> {
    let tag = tag(&answer.probe);
    let mut values = vec![Value::text(&tag, &escaped(&answer.text))];
    for (number, path) in (1..).zip(answer.probe.images.iter().filter(|_| is_first)) {
        // A probe whose picture is gone is announced where it is asked.
        let Ok(picture) = tunebook_data::read_picture(path) else { continue };
        let (width, height) = picture.rgb.dimensions();
        let scale = (f64::from(PICTURE) / f64::from(width.max(height))).min(1.0);
        let [width, height] = [width, height].map(|side| ((f64::from(side) * scale).round() as u32).max(1));
        let small = imageops::thumbnail(&picture.rgb, width, height);
        if let Ok(file) = png::png(&small) {
            values.push(Value::image(&format!("{tag}/picture {number}"), small.dimensions(), &file));
        }
    }
    values
}

/// `probes/What is it? (creature_0.png)`
fn tag(probe: &Probe) -> String {
    let question = probe.question.replace('/', "∕");
    let question: String = question.split_whitespace().collect::<Vec<_>>().join(" ");
    let images: Vec<_> = probe.images.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let images = if images.is_empty() { String::new() } else { format!(" ({})", images.join(", ")) };
    format!("probes/{}{}", shortened(&question, QUESTION), images.replace('/', "∕"))
}

/// A table of what a training is made with.
fn settings_table(state: Trained, base_model: &str) -> String {
    let settings = resume::settings_to_keep(state.settings, state.settings);
    let model = ("model_name_or_path".to_string(), base_model.to_string());
    let rows = std::iter::once(&model).map(|(key, value)| (key, value)).chain(&settings);
    let rows: String = rows.map(|(key, value)| format!("| {} | {} |\n", escaped(key), escaped(value))).collect();
    format!("| setting | value |\n|---|---|\n{rows}")
}

fn step(entry: &Entry) -> usize {
    match entry {
        Entry::Step(record) => record.step,
        Entry::Evaluation(record) => record.step,
    }
}

/// Seconds of training up to an entry.
fn elapsed(entry: &Entry) -> f64 {
    match entry {
        Entry::Step(record) => record.elapsed,
        Entry::Evaluation(record) => record.elapsed,
    }
}

/// Since 1970.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests;
