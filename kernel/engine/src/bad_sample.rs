//! Samples that turn out to be unusable when their turn comes: an image that can no longer be read, or a loss that is
//! not finite.
//!
//! Such a sample is left out of its micro-batch (`on_bad_sample`), and a step is the mean over the micro-batches that
//! have a sample left. It is no sign that the training has diverged; `training/not_finite.rs` tells the two apart.

use tunebook_data::Encoded;
use tunebook_data::ImageError;
use tunebook_data::SkipReason;
use tunebook_data::Skipped;

use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::settings::OnBadSample;
use crate::settings::Settings;

/// If so many in a row are bad, something else is wrong than a sample.
const MOST_IN_A_ROW: usize = 10;

/// A picture of `sample` that cannot be used makes the sample a bad one.
pub(crate) fn of_sample(sample: &Encoded, error: Error) -> Error {
    match error {
        Error::Image(ImageError::Picture(error)) => {
            let reason = SkipReason::BadPicture(error);
            Error::BadSample(Box::new(Skipped { origin: sample.origin.clone(), reason }))
        }
        error => error,
    }
}

/// Adds those of `bad` that `skipped` does not list yet.
pub(crate) fn list(skipped: &mut Vec<Skipped>, bad: &[Skipped]) {
    for sample in bad {
        if !skipped.contains(sample) {
            skipped.push(sample.clone());
        }
    }
}

/// The bad samples that were met, in training or in one evaluation.
#[derive(Default)]
pub(crate) struct BadSamples {
    /// Each is named once, however often its turn comes.
    known: Vec<Skipped>,
    left_out: Vec<Skipped>,
    in_a_row: usize,
}

impl BadSamples {
    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.left_out.clear();
    }

    /// All that were met so far.
    pub(crate) fn known(&self) -> &[Skipped] {
        &self.known
    }

    /// Those that this call has left out.
    pub(crate) fn left_out(&self) -> &[Skipped] {
        &self.left_out
    }

    pub(crate) fn last(&self) -> Option<&Skipped> {
        self.known.last()
    }

    /// Leaves `sample` out, and says so the first time.
    ///
    /// # Errors
    /// `on_bad_sample` is `stop`, or there were too many in a row.
    pub(crate) fn leave_out(&mut self, sample: Skipped, settings: &Settings, cx: &Context) -> Result<()> {
        if settings.on_bad_sample == OnBadSample::Stop {
            return Err(Error::BadSample(Box::new(sample)));
        }
        self.in_a_row += 1;
        if self.in_a_row >= MOST_IN_A_ROW {
            return Err(Error::BadSamplesInARow { count: self.in_a_row, last: Box::new(sample) });
        }
        if !self.left_out.contains(&sample) {
            self.left_out.push(sample.clone());
        }
        if !self.known.contains(&sample) {
            cx.emit(Event::Note(Note::LeftOut(Box::new(sample.clone()))));
            self.known.push(sample);
        }
        Ok(())
    }

    /// A sample was good.
    pub(crate) fn end_row(&mut self) {
        self.in_a_row = 0;
    }
}
