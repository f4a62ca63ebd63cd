//! The data sets that a session trains on and evaluates on, encoded.

use std::hash::Hasher;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde::Serialize;
use tunebook_data::BoxScale;
use tunebook_data::BoxSurvey;
use tunebook_data::DatasetInfo;
use tunebook_data::DatasetReader;
use tunebook_data::EncodeOptions;
use tunebook_data::Encoded;
use tunebook_data::Encoder;
use tunebook_data::HubDataset;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::IMAGE_PLACEHOLDER;
use tunebook_data::ImageProcessor;
use tunebook_data::Row;
use tunebook_data::Sampler;
use tunebook_data::Skipped;
use tunebook_data::Source;
use tunebook_data::convert_boxes;
use tunebook_data::mix;
use tunebook_data::pack;
use tunebook_data::split;
use twox_hash::XxHash3_64;

use crate::boxes;
use crate::checkpoint::DataFingerprint;
use crate::drafts::NGrams;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::event::Task;
use crate::hub;
use crate::hub::Part;
use crate::instead::explained;
use crate::model::Model;
use crate::report::DataReport;
use crate::report::PictureReport;
use crate::report::SampleReport;
use crate::report::SkippedKind;
use crate::report::Spread;
use crate::report::TokenReport;
use crate::settings::Hub;
use crate::settings::Settings;
use crate::system_prompt;

/// Encoded samples, and what `data` reported of them.
pub struct ChosenData {
    /// The units of training: a sample by itself, or with `packing` several that lie end to end and do not see each
    /// other.
    pub train: Vec<Vec<Encoded>>,
    /// The samples that are held out: `val_size` of the datasets, or `eval_dataset`.
    pub eval: Vec<Encoded>,
    /// What cannot be used, by data set, file and place in it.
    pub skipped: Vec<Skipped>,
    pub report: DataReport,
    /// The names of those of its datasets that are on Hugging Face.
    pub on_hub: Vec<String>,
    /// The fingerprint by which checkpoints recognise the data.
    pub fingerprint: DataFingerprint,
    /// The settings that it was read with.
    pub settings: Settings,
    labels: OnceLock<NGrams>,
}

/// The most tokens of answers that drafts are taken from.
const LABELS: usize = 1 << 20;

/// Which samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Split {
    Train,
    Eval,
}

impl ChosenData {
    /// What the answers that are trained on say.
    pub fn labels(&self) -> &NGrams {
        self.labels.get_or_init(|| {
            let mut labels = NGrams::default();
            self.answers().iter().for_each(|answer| labels.add(answer, 0));
            labels
        })
    }

    /// The answers that are trained on, as many as drafts are taken from.
    pub fn answers(&self) -> Vec<&[u32]> {
        let mut left = LABELS;
        let is_taken = |answer: &&[u32]| {
            let has_room = left > 0;
            left = left.saturating_sub(answer.len());
            has_room
        };
        let samples = self.train.iter().flatten();
        samples.map(|sample| &sample.input_ids[sample.answer_start..]).take_while(is_taken).collect()
    }

    /// Reads the datasets `names`, mixes them, holds some samples out, encodes and packs.
    ///
    /// # Errors
    /// Settings that exclude each other; a data set that is not declared or cannot be read; no sample at all that can
    /// be used; an interrupt.
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
        if settings.val_size > 1e-6 && !settings.eval_dataset.is_empty() {
            return Err(Error::ValSizeAndEvalDataset);
        }
        let encode = Encode { model, processor, settings, cx };
        let (rows, boxes) = encode.read(names)?;
        let (eval_rows, eval_boxes) = match &settings.eval_dataset[..] {
            [] => Default::default(),
            names => encode.read(names)?,
        };
        let (train, held_out) = split(rows.len(), settings.val_size, settings.seed)?;
        let train_rows: Vec<_> = train.into_iter().map(|index| &rows[index]).collect();
        let eval: Vec<_> = held_out.into_iter().map(|index| &rows[index]).chain(&eval_rows).collect();

        let train = encode.rows(&train_rows, Task::Encoding)?;
        let system = system_prompt::shared(&train_rows, &train, settings, model);
        let eval = encode.rows(&eval, Task::EncodingEval)?;
        let skipped = in_order(train.iter().chain(&eval));
        if train.iter().all(std::result::Result::is_err) {
            return Err(explained(Error::NoSamples { names: names.join(","), skipped }));
        }
        let train = packed(train, settings);
        let eval: Vec<_> = eval.into_iter().flatten().collect();
        let counted = SkippedKind::count(&skipped);
        let (written, own) = encode.scales();
        let boxes = boxes::report(&boxes.with(eval_boxes), written, own);
        let report = DataReport { system, boxes, ..report(names, &train, &eval, counted, processor, settings) };
        let fingerprint = DataFingerprint {
            names: names.to_vec(),
            samples: train.len(),
            eval_samples: eval.len(),
            train: fingerprint(train.iter().map(Vec::as_slice)),
            eval: fingerprint(eval.iter().map(std::slice::from_ref)),
        };
        let on_hub = on_hub(names, settings);
        let settings = settings.clone();
        Ok(Self { train, eval, skipped, report, on_hub, fingerprint, settings, labels: OnceLock::new() })
    }

    /// The samples of a split, in the order in which `sample` counts them.
    pub fn samples(&self, split: Split) -> Vec<&Encoded> {
        match split {
            Split::Train => self.train.iter().flatten().collect(),
            Split::Eval => self.eval.iter().collect(),
        }
    }

    /// Sample `index` of a split token by token; a run of image placeholders is one entry.
    ///
    /// # Errors
    /// There are not that many samples.
    pub fn sample(&self, split: Split, index: usize, model: &Model) -> Result<SampleReport> {
        let samples = self.samples(split);
        let sample = samples.get(index).ok_or(Error::NoSample { index, samples: samples.len() })?;
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
        let patch = model.net.config.patch_size();
        let piece = |token: &TokenReport| match token.id == image_pad {
            true => IMAGE_PLACEHOLDER.to_string(),
            false => token.text.clone(),
        };
        let text: String = tokens.iter().map(piece).collect();
        let boxes = boxes::drawn(&text, &sample.images, &model.processor, boxes::own_scale(model.net.family));
        let pictures = sample.images.iter().zip(boxes).map(|(image, boxes)| PictureReport {
            path: image.path.clone(),
            grid_h: image.grid.h,
            grid_w: image.grid.w,
            patch,
            tokens: model.processor.tokens(image.grid),
            width: image.size.0,
            height: image.size.1,
            boxes,
        });
        Ok(SampleReport {
            index,
            samples: samples.len(),
            origin: sample.origin.to_string(),
            tokens,
            pictures: pictures.collect(),
            scores: Vec::new(),
        })
    }
}

/// Samples of the data sets `names` that are not those of the session, to evaluate on, and what was left out.
///
/// # Errors
/// As [`ChosenData::read`].
pub(crate) fn read_samples(
    names: &[String],
    model: &Model,
    processor: &ImageProcessor,
    settings: &Settings,
    cx: &Context,
) -> Result<(Vec<Encoded>, Vec<Skipped>)> {
    let encode = Encode { model, processor, settings, cx };
    let (rows, _) = encode.read(names)?;
    let rows: Vec<_> = rows.iter().collect();
    let encoded = encode.rows(&rows, Task::EncodingEval)?;
    let skipped = in_order(encoded.iter());
    Ok((encoded.into_iter().flatten().collect(), skipped))
}

/// The rows of data sets, mixed as `mix_strategy` says.
fn rows(names: &[String], settings: &Settings, cx: &Context) -> Result<Vec<Row>> {
    let info = DatasetInfo::read(&settings.dataset_dir)?;
    let media_dir = settings.media_dir.as_deref().unwrap_or(info.dataset_dir());
    let pictures = pictures_folder()?;
    let heard = |done, total| {
        cx.emit(Event::Progress { task: Task::Reading, done, total });
        !cx.is_cancelled()
    };
    let reader = DatasetReader::new(media_dir, &pictures, settings.max_samples, settings.seed);
    let mut reader = reader.heard_by(&heard);
    let mut sets = Vec::with_capacity(names.len());
    for name in names {
        let mut entry = info.entry(name)?;
        if let Some(sha1) = entry.other_sha1(&|| !cx.is_cancelled())? {
            cx.emit(Event::Note(Note::OtherSha1 { name: name.clone(), sha1 }));
        }
        if let Source::Hub(dataset) = &entry.source {
            entry.source = Source::Files(download(dataset, settings, cx)?);
        }
        sets.push(reader.read(&entry)?);
    }
    if let [rows] = &mut sets[..] {
        return Ok(std::mem::take(rows));
    }
    let lengths: Vec<_> = sets.iter().map(Vec::len).collect();
    let mixed = mix(&lengths, settings.mix_strategy.into(), settings.interleave_probs.as_deref(), settings.seed)?;
    Ok(mixed.into_iter().map(|(set, row)| sets[set][row].clone()).collect())
}

/// The names on Hugging Face of datasets that are read from there.
fn on_hub(names: &[String], settings: &Settings) -> Vec<String> {
    let Ok(info) = DatasetInfo::read(&settings.dataset_dir) else { return Vec::new() };
    let on_hub = names.iter().filter_map(|name| match info.entry(name).ok()?.source {
        Source::Hub(HubDataset { hf_hub_url, .. }) => hf_hub_url,
        Source::Files(_) => None,
    });
    on_hub.collect()
}

/// The files of a data set of a hub: of ModelScope where it is chosen, or where Hugging Face has no such data set.
fn download(dataset: &HubDataset, settings: &Settings, cx: &Context) -> Result<Vec<PathBuf>> {
    let HubDataset { hf_hub_url, ms_hub_url, subset, split, folder } = dataset;
    let part = Part { folder: folder.as_deref(), subset: subset.as_deref(), split: Some(split) };
    let (hub, id) = match (hub::chosen(settings), hf_hub_url, ms_hub_url) {
        (Hub::Modelscope, _, Some(id)) | (_, None, Some(id)) => (Hub::Modelscope, id.as_str()),
        (_, id, _) => (Hub::Huggingface, id.as_deref().unwrap_or_default()),
    };
    hub::dataset(hub, id, part, settings, cx)
}

/// Where pictures go that lie inside a data set's file. They are named by their content, so that the folder can be
/// deleted while no session runs.
fn pictures_folder() -> Result<PathBuf> {
    let own = tunebook_files::own_folder(dirs::cache_dir());
    Ok(own.map_err(|source| Error::Write { path: std::env::temp_dir(), source })?.join("pictures"))
}

/// What encoding needs.
struct Encode<'a> {
    model: &'a Model,
    processor: &'a ImageProcessor,
    settings: &'a Settings,
    cx: &'a Context<'a>,
}

impl Encode<'_> {
    /// The rows of data sets with their boxes in the model's own scale, and what these were like.
    fn read(&self, names: &[String]) -> Result<(Vec<Row>, BoxSurvey)> {
        let mut rows = rows(names, self.settings, self.cx)?;
        let (written, own) = self.scales();
        let survey = convert_boxes(&mut rows, self.processor, written, own, &|| !self.cx.is_cancelled())?;
        Ok((rows, survey))
    }

    /// The scale in which boxes are written, and the model's own.
    fn scales(&self) -> (BoxScale, BoxScale) {
        let own = boxes::own_scale(self.model.net.family);
        (boxes::scale(self.settings.boxes, own), own)
    }

    fn rows(&self, rows: &[&Row], task: Task) -> Result<Vec<std::result::Result<Encoded, Skipped>>> {
        let Self { model, processor, settings, cx } = self;
        let options = EncodeOptions {
            cutoff_len: room(settings),
            train_on_prompt: settings.train_on_prompt,
            mask_history: settings.mask_history,
        };
        let template = system_prompt::template(settings, model);
        let encoder = Encoder { tokenizer: &model.tokenizer, template: &template, processor, options };
        let total = rows.len();
        let progress = |done| cx.emit(Event::Progress { task, done, total });
        Ok(encoder.encode_all(rows, &progress, &|| cx.is_cancelled())?)
    }
}

/// Most tokens of a sample, and of a pack: LLaMA-Factory takes one less than `cutoff_len` where it packs.
fn room(settings: &Settings) -> usize {
    settings.cutoff_len - usize::from(is_packed(settings))
}

/// `neat_packing` asks for what `packing` always is here.
fn is_packed(settings: &Settings) -> bool {
    settings.packing || settings.neat_packing
}

/// What cannot be used, by data set, file and place in it.
fn in_order<'a>(rows: impl Iterator<Item = &'a std::result::Result<Encoded, Skipped>>) -> Vec<Skipped> {
    let mut skipped: Vec<_> = rows.filter_map(|row| row.as_ref().err().cloned()).collect();
    skipped.sort_by(|a, b| a.origin.cmp(&b.origin));
    skipped
}

/// Every sample by itself, or in packs.
fn packed(rows: Vec<std::result::Result<Encoded, Skipped>>, settings: &Settings) -> Vec<Vec<Encoded>> {
    if !is_packed(settings) {
        return rows.into_iter().flatten().map(|sample| vec![sample]).collect();
    }
    // What was skipped keeps its place among the samples that are looked at together, and fits nowhere.
    let length = |row: &std::result::Result<Encoded, Skipped>| row.as_ref().map_or(usize::MAX, |s| s.input_ids.len());
    let packs = pack(&rows.iter().map(length).collect::<Vec<_>>(), room(settings));
    let mut rows: Vec<_> = rows.into_iter().map(std::result::Result::ok).collect();
    packs.into_iter().map(|pack| pack.into_iter().filter_map(|index| rows[index].take()).collect()).collect()
}

/// A hash of packs of samples in their order: tokens, labels, and of each picture its grid and the length of its file.
fn fingerprint<'a>(packs: impl Iterator<Item = &'a [Encoded]>) -> String {
    let mut hash = XxHash3_64::new();
    for pack in packs {
        hash.write_u64(pack.len() as u64);
        for sample in pack {
            hash.write_u64(sample.input_ids.len() as u64);
            hash.write(bytemuck::cast_slice(&sample.input_ids));
            hash.write(bytemuck::cast_slice(&sample.labels));
            for image in &sample.images {
                let length = std::fs::metadata(&image.path).map_or(0, |metadata| metadata.len());
                for number in [image.grid.t as u64, image.grid.h as u64, image.grid.w as u64, length] {
                    hash.write_u64(number);
                }
            }
        }
    }
    format!("{:016x}", hash.finish())
}

/// As many images as a report shows.
const IMAGES: usize = 10;

fn report(
    names: &[String],
    train: &[Vec<Encoded>],
    eval: &[Encoded],
    skipped: Vec<SkippedKind>,
    processor: &ImageProcessor,
    settings: &Settings,
) -> DataReport {
    let samples: Vec<_> = train.iter().flatten().chain(eval).collect();
    let (batch, accumulation) = (settings.per_device_train_batch_size, settings.micro_batches_per_step());
    DataReport {
        names: names.to_vec(),
        samples: samples.len() - eval.len(),
        packs: is_packed(settings).then_some(train.len()),
        eval_samples: eval.len(),
        system: None,
        skipped,
        tokens: Spread::of(samples.iter().map(|sample| sample.input_ids.len())),
        boxes: None,
        supervised_tokens: Spread::of(samples.iter().map(|sample| sample.supervised_tokens())),
        picture_tokens: Spread::of(samples.iter().flat_map(|sample| sample.grids()).map(|grid| processor.tokens(grid))),
        truncated: samples.iter().filter(|sample| sample.truncated).count(),
        steps_per_epoch: Sampler::new(train.len(), batch, accumulation, 0, false).steps_per_epoch(),
        images: few_images(train),
    }
}

/// At most [`IMAGES`] of the images, at equal distances.
fn few_images(train: &[Vec<Encoded>]) -> Vec<PathBuf> {
    let images: Vec<_> = train.iter().flatten().flat_map(|sample| &sample.images).collect();
    let every = images.len().div_ceil(IMAGES).max(1);
    images.into_iter().step_by(every).map(|image| image.path.clone()).collect()
}
