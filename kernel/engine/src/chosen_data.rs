//! The data sets that a session trains on, encoded.

use tunebook_data::Dataset;
use tunebook_data::DatasetInfo;
use tunebook_data::EncodeOptions;
use tunebook_data::Encoded;
use tunebook_data::Encoder;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::ImageProcessor;
use tunebook_data::Sampler;
use tunebook_data::Template;

use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::model::Model;
use crate::report::DataReport;
use crate::report::PictureReport;
use crate::report::SampleReport;
use crate::report::SkippedSample;
use crate::report::TokenReport;
use crate::settings::Settings;

/// Encoded samples, and what `data` reported of them.
pub struct ChosenData {
    pub samples: Vec<Encoded>,
    pub report: DataReport,
}

impl ChosenData {
    /// Reads `names` one after another and encodes them together.
    ///
    /// # Errors
    /// A data set that is not declared or cannot be read; no sample at all that can be used; an interrupt.
    pub fn read(
        names: &[String],
        model: &Model,
        processor: &ImageProcessor,
        settings: &Settings,
        cx: &Context,
    ) -> Result<Self> {
        if settings.train_on_prompt && settings.mask_history {
            return Err(Error::PromptAndHistory);
        }
        let info = DatasetInfo::read(&settings.dataset_dir)?;
        let mut read = Dataset::default();
        for name in names {
            read.append(Dataset::load(&info.entry(name)?, info.dataset_dir(), settings.max_samples)?);
        }
        let options = EncodeOptions {
            cutoff_len: settings.cutoff_len,
            train_on_prompt: settings.train_on_prompt,
            mask_history: settings.mask_history,
        };
        let template = Template::by_name(&settings.template)?;
        let encoder = Encoder { tokenizer: &model.tokenizer, template, processor, options };
        let total = read.samples.len();
        let progress = |done| cx.emit(Event::Progress { task: "encoding samples", done, total });
        let encoded = encoder.encode_all(&read.samples, &progress, &|| cx.is_cancelled())?;

        let skipped: Vec<_> = read.skipped.iter().chain(&encoded.skipped).collect();
        let samples = encoded.examples;
        let Some(longest) = samples.iter().map(|sample| sample.input_ids.len()).max() else {
            let first = skipped.first().map(|skipped| format!("; the first: {skipped}")).unwrap_or_default();
            return Err(Error::NoSamples { names: names.join(","), skipped: skipped.len(), first });
        };
        let sum = |count: fn(&Encoded) -> usize| samples.iter().map(count).sum::<usize>();
        let (batch, accumulation) = (settings.per_device_train_batch_size, settings.gradient_accumulation_steps);
        let report = DataReport {
            names: names.to_vec(),
            samples: samples.len(),
            skipped: skipped
                .iter()
                .map(|s| SkippedSample { origin: s.origin.to_string(), reason: s.reason.to_string() })
                .collect(),
            tokens: sum(|sample| sample.input_ids.len()),
            longest,
            supervised_tokens: sum(Encoded::supervised_tokens),
            pictures: sum(|sample| sample.images.len()),
            truncated: sum(|sample| usize::from(sample.truncated)),
            steps_per_epoch: Sampler::new(samples.len(), batch, accumulation, 0, false).steps_per_epoch(),
        };
        Ok(Self { samples, report })
    }

    /// Sample `index` token by token; a run of image placeholders is one entry.
    ///
    /// # Errors
    /// There are not that many samples.
    pub fn sample(&self, index: usize, model: &Model) -> Result<SampleReport> {
        let sample = self.samples.get(index).ok_or(Error::NoSample { index, samples: self.samples.len() })?;
        let image_pad = model.tokenizer.special().image_pad;
        let mut tokens: Vec<TokenReport> = Vec::new();
        let mut pieces = model.tokenizer.decode_stream(false);
        for (&id, &label) in sample.input_ids.iter().zip(&sample.labels) {
            match tokens.last_mut() {
                Some(last) if id == image_pad && last.id == id => last.count += 1,
                _ => {
                    tokens.push(TokenReport { id, text: pieces.push(id)?, supervised: label != IGNORE_INDEX, count: 1 })
                }
            }
        }
        let patch = model.net.config.vision.patch_size;
        let pictures = sample.images.iter().map(|image| PictureReport {
            path: image.path.clone(),
            grid_h: image.grid.h,
            grid_w: image.grid.w,
            patch,
            tokens: model.processor.tokens(image.grid),
        });
        Ok(SampleReport {
            index,
            samples: self.samples.len(),
            origin: sample.origin.to_string(),
            tokens,
            pictures: pictures.collect(),
        })
    }
}
