//! Samples to token ids and labels.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::cutoff::cut;
use crate::template::{Slots, Turn};
use crate::{
    Grid, ImageProcessor, ImageRef, Origin, Row, Sample, SkipReason, Skipped, Template, TemplateError, Tokenizer,
    TokenizerError,
};

/// The label of a position that is not learned.
pub const IGNORE_INDEX: i64 = -100;

/// Settings of LLaMA-Factory's, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Most tokens of a sample.
    pub cutoff_len: usize,
    /// Learn the questions too.
    pub train_on_prompt: bool,
    /// Learn only the last answer; it also comes first where room is short.
    pub mask_history: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { cutoff_len: 2048, train_on_prompt: false, mask_history: false }
    }
}

/// A sample as a model learns it. Pictures are references: their pixels are made when they are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`: the same id where it is learned, else [`IGNORE_INDEX`]. Not shifted.
    pub labels: Vec<i64>,
    /// The pictures whose blocks `input_ids` holds, in their order.
    pub images: Vec<ImageRef>,
    /// Whether cutoff_len left something out.
    pub truncated: bool,
    pub origin: Origin,
}

impl Encoded {
    pub fn grids(&self) -> impl Iterator<Item = Grid> + '_ {
        self.images.iter().map(|image| image.grid)
    }

    /// How many positions are learned: labels but the first position's, which nothing predicts.
    pub fn supervised_tokens(&self) -> usize {
        let labels = self.labels.iter().skip(1);
        labels.filter(|label| **label != IGNORE_INDEX).count()
    }
}

/// Everything that is needed to encode a sample.
#[derive(Debug, Clone, Copy)]
pub struct Encoder<'a> {
    pub tokenizer: &'a Tokenizer,
    pub template: &'a Template,
    pub processor: &'a ImageProcessor,
    pub options: EncodeOptions,
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("encoding was interrupted")]
    Cancelled,
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl Encoder<'_> {
    /// Encodes all rows on all cores, in their order. `progress` hears the number of rows done so far, `cancelled` is
    /// asked before each row; both are called from many threads.
    ///
    /// # Errors
    /// [`EncodeError::Cancelled`], or a tokenizer that fails. A sample that cannot be used is skipped.
    pub fn encode_all(
        &self,
        rows: &[&Row],
        progress: &(dyn Fn(usize) + Sync),
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Result<Encoded, Skipped>>, EncodeError> {
        let done = AtomicUsize::new(0);
        let encode = |row: &&Row| {
            if cancelled() {
                return Err(EncodeError::Cancelled);
            }
            let encoded = match row {
                Ok(sample) => self.encode(sample)?.map_err(|reason| Skipped { origin: sample.origin.clone(), reason }),
                Err(skipped) => Err(skipped.clone()),
            };
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(encoded)
        };
        rows.par_iter().map(encode).collect()
    }

    /// Encodes one sample; the inner error says why it cannot be used.
    ///
    /// LLaMA-Factory's `SupervisedDatasetProcessor`, with one difference: it cuts through the middle of a
    /// picture's tokens, and such a sample ends the run with `Image features and image tokens do not match`.
    /// Here a question is never parted from its pictures: where the cut would take one, the question stays
    /// whole at the expense of its answer, and where not even one token of the answer would be left, the turn is
    /// left out with everything behind it (before it, with mask_history). An answer is cut before a picture
    /// that does not fit. A sample of which nothing remains to be learned is skipped.
    ///
    /// # Errors
    /// A tokenizer that fails.
    pub fn encode(&self, sample: &Sample) -> Result<Result<Encoded, SkipReason>, EncodeError> {
        let images = sample.images.iter().map(|path| {
            self.processor
                .look(path)
                .map_err(|error| SkipReason::BadPicture { path: path.clone(), message: error.to_string() })
        });
        let images = match images.collect::<Result<Vec<_>, _>>() {
            Ok(images) => images,
            Err(reason) => return Ok(Err(reason)),
        };
        let tokens: Vec<_> = images.iter().map(|image| self.processor.tokens(image.grid)).collect();
        let turns = self
            .template
            .with_tools(&sample.system, &sample.tools)
            .and_then(|system| self.template.encode_multiturn(self.tokenizer, &sample.messages, &system, &tokens));
        match turns {
            Ok(turns) => Ok(self.join(sample, turns, images)),
            Err(TemplateError::Tokenizer(error)) => Err(error.into()),
            Err(TemplateError::VisionToken { token }) => Ok(Err(SkipReason::VisionTokenInText { token })),
            Err(TemplateError::ImageCount { placeholders, images }) => {
                Ok(Err(SkipReason::ImageCount { placeholders, images }))
            }
            Err(TemplateError::Tools { source }) => Ok(Err(SkipReason::BadTools { message: source.to_string() })),
            Err(TemplateError::FunctionCall { index, source }) => {
                Ok(Err(SkipReason::BadFunctionCall { turn: index, message: source.to_string() }))
            }
            Err(TemplateError::Order { .. } | TemplateError::Unknown { .. }) => {
                Ok(Err(SkipReason::OddMessageCount { count: sample.messages.len() }))
            }
        }
    }

    /// Cuts the turns to cutoff_len and joins them.
    fn join(&self, sample: &Sample, turns: Vec<Turn>, images: Vec<ImageRef>) -> Result<Encoded, SkipReason> {
        let cutoff_len = self.options.cutoff_len;
        let total: usize = turns.iter().map(|turn| turn.source.ids.len() + turn.target.ids.len()).sum();
        let mut images = images.into_iter();
        let mut turns: Vec<_> = turns
            .into_iter()
            .map(|turn| {
                let count = turn.source.images.len() + turn.target.images.len();
                let images: Vec<_> = images.by_ref().take(count).collect();
                (turn, images)
            })
            .collect();
        if self.options.mask_history {
            turns.reverse();
        }

        let mut room = cutoff_len;
        let mut kept = Vec::with_capacity(turns.len());
        let needed = turns.first().map_or(0, |(turn, _)| turn.source.ids.len());
        for (mut turn, mut images) in turns {
            if room == 0 || !cut(&mut turn, room) {
                break;
            }
            room -= turn.source.ids.len() + turn.target.ids.len();
            let pictures = turn.source.images.len() + turn.target.images.len();
            let lost_one = pictures < images.len();
            images.truncate(pictures);
            kept.push((turn, images));
            if lost_one {
                break;
            }
        }
        if kept.is_empty() {
            return Err(SkipReason::CutoffTooShort { needed, cutoff_len });
        }
        let last = kept.len() - 1;
        if self.options.mask_history {
            kept.reverse();
        }

        let mut encoded = Encoded {
            input_ids: Vec::with_capacity(cutoff_len - room),
            labels: Vec::with_capacity(cutoff_len - room),
            images: Vec::new(),
            truncated: cutoff_len - room < total,
            origin: sample.origin.clone(),
        };
        for (index, (turn, images)) in kept.into_iter().enumerate() {
            let learn_target = !self.options.mask_history || index == last;
            encoded.push(turn.source, self.options.train_on_prompt);
            encoded.push(turn.target, learn_target);
            encoded.images.extend(images);
        }
        match encoded.supervised_tokens() {
            0 => Err(SkipReason::NothingToLearn { cutoff_len }),
            _ => Ok(encoded),
        }
    }
}

impl Encoded {
    fn push(&mut self, slots: Slots, learn: bool) {
        let label = |id: &u32| match learn {
            true => i64::from(*id),
            false => IGNORE_INDEX,
        };
        self.labels.extend(slots.ids.iter().map(label));
        self.input_ids.extend(slots.ids);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use safetensors::SafeTensors;
    use serde_json::{Value, json};

    use super::*;
    use crate::{DatasetInfo, DatasetReader, Message, Role, fixtures};

    struct Parts {
        tokenizer: Tokenizer,
        processor: ImageProcessor,
    }

    impl Parts {
        fn new() -> Self {
            Self { tokenizer: fixtures::tokenizer(), processor: fixtures::processor() }
        }

        fn encoder(&self, options: EncodeOptions) -> Encoder<'_> {
            Encoder { tokenizer: &self.tokenizer, template: Template::qwen2_vl(), processor: &self.processor, options }
        }

        fn cut(&self, sample: &Sample, cutoff_len: usize) -> Result<Encoded, SkipReason> {
            let options = EncodeOptions { cutoff_len, ..EncodeOptions::default() };
            self.encoder(options).encode(sample).unwrap()
        }
    }

    fn sample(contents: &[&str], images: &[&str]) -> Sample {
        let message = |(turn, content): (usize, &&str)| match turn % 2 {
            0 => Message::user(*content),
            _ => Message::assistant(*content),
        };
        Sample {
            messages: contents.iter().enumerate().map(message).collect(),
            system: String::new(),
            tools: String::new(),
            images: images.iter().map(|name| fixtures::path("pictures").join(name)).collect(),
            origin: Origin { file: Arc::from(Path::new("test.json")), index: 0 },
        }
    }

    fn numbers<T>(file: &SafeTensors, name: &str, from: impl Fn(&[u8]) -> T) -> Option<Vec<T>> {
        let tensor = file.tensor(name).ok()?;
        let size = tensor.data().len() / tensor.shape().iter().product::<usize>();
        Some(tensor.data().chunks_exact(size).map(from).collect())
    }

    /// From messages and files to what transformers gives its model, for each case of the model's own fixtures.
    #[test]
    fn prompts_and_pixels_are_transformers() {
        let parts = Parts::new();
        let mut pictures = 0;
        for case in fixtures::json("logits/cases.json")["cases"].as_array().unwrap() {
            if case["checkpoint"] != "tiny" {
                continue;
            }
            let name = case["name"].as_str().unwrap();
            let bytes = std::fs::read(fixtures::path(&format!("logits/{name}.safetensors"))).unwrap();
            let expected = SafeTensors::deserialize(&bytes).unwrap();
            let i64s = |name| numbers(&expected, name, |b| i64::from_le_bytes(b.try_into().unwrap()));
            let f32s = |name| numbers(&expected, name, |b| f32::from_le_bytes(b.try_into().unwrap()));

            let mut system = "";
            let mut messages = Vec::new();
            for message in case["messages"].as_array().unwrap() {
                let content = message["content"].as_str().unwrap();
                match message["role"].as_str().unwrap() {
                    "system" => system = content,
                    "user" => messages.push(Message::user(content)),
                    _ => messages.push(Message::assistant(content)),
                }
            }
            let (mut tokens, mut pixels, mut grids) = (Vec::new(), Vec::new(), Vec::new());
            for image in case["images"].as_array().unwrap() {
                let path = fixtures::path("pictures").join(image.as_str().unwrap());
                let image = parts.processor.look(&path).unwrap();
                tokens.push(parts.processor.tokens(image.grid));
                grids.extend([image.grid.t, image.grid.h, image.grid.w].map(|n| n as i64));
                pixels.extend(parts.processor.load(&image).unwrap().patches);
                pictures += 1;
            }
            if messages.last().unwrap().role == Role::Assistant {
                continue;
            }
            let prompt = Template::qwen2_vl().encode_prompt(&parts.tokenizer, &messages, system, &tokens).unwrap();
            let ids: Vec<_> = prompt.ids.into_iter().map(i64::from).collect();
            assert_eq!(ids, i64s("input_ids").unwrap(), "{name}");
            assert_eq!(grids, i64s("image_grid_thw").unwrap_or_default(), "{name}");
            assert!(pixels == f32s("pixel_values").unwrap_or_default(), "{name}: other pixels");
        }
        assert!(pictures >= 4);
    }

    /// From a record through dataset_info.json to ids and labels, as LLaMA-Factory's own loader gives them.
    #[test]
    fn records_become_llamafactorys_ids_and_labels() {
        let parts = Parts::new();
        let numbers = |list: &Value| -> Vec<i64> {
            list.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
        };
        for case in fixtures::json("encode/samples.json")["samples"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let mut entry = case["entry"].clone();
            entry["file_name"] = "data.json".into();
            let write = |file: &str, value: Value| std::fs::write(dir.path().join(file), value.to_string()).unwrap();
            write("dataset_info.json", json!({"data": entry}));
            write("data.json", json!([case["sample"]]));
            let entry = DatasetInfo::read(dir.path()).unwrap().entry("data").unwrap();
            let rows = DatasetReader::new(&fixtures::path("pictures"), dir.path(), None, 42).read(&entry).unwrap();

            let setting = |key: &str| case["settings"].get(key);
            let number = |key: &str, default| setting(key).map_or(default, |n| n.as_u64().unwrap() as usize);
            let max_pixels = number("image_max_pixels", crate::DEFAULT_IMAGE_MAX_PIXELS);
            let processor = parts.processor.clone().with_limits(max_pixels, crate::DEFAULT_IMAGE_MIN_PIXELS).unwrap();
            let encoder = Encoder {
                processor: &processor,
                ..parts.encoder(EncodeOptions {
                    cutoff_len: number("cutoff_len", 2048),
                    train_on_prompt: setting("train_on_prompt").is_some(),
                    mask_history: setting("mask_history").is_some(),
                })
            };
            let encoded = encoder.encode(rows[0].as_ref().unwrap()).unwrap().unwrap();
            let ids: Vec<_> = encoded.input_ids.iter().map(|id| i64::from(*id)).collect();
            if name == "index_placeholder" {
                // LLaMA-Factory replaces {{idx}} in the text itself; tunebook leaves text as it is.
                assert_ne!(ids, numbers(&case["input_ids"]));
                let text = parts.tokenizer.decode(&encoded.input_ids, false).unwrap();
                assert!(text.contains("Turn {{idx}}, then {{content}}."), "{text}");
                continue;
            }
            assert_eq!(ids, numbers(&case["input_ids"]), "{name}");
            assert_eq!(encoded.labels, numbers(&case["labels"]), "{name}");
        }
    }

    #[test]
    fn only_answers_are_learned() {
        let parts = Parts::new();
        let sample = sample(&["<image>谁?", "它。", "And?", "\nA fox."], &["wide.png"]);
        let encoded = parts.cut(&sample, 2048).unwrap();
        let learned: Vec<_> =
            (encoded.labels.iter()).filter(|label| **label != IGNORE_INDEX).map(|label| *label as u32).collect();
        let mut expected = parts.tokenizer.encode("它。<|im_end|>\n").unwrap();
        expected.extend(parts.tokenizer.encode("\nA fox.<|im_end|>\n").unwrap());
        assert_eq!(learned, expected);
        assert!(!encoded.truncated);
        let image_pad = parts.tokenizer.special().image_pad;
        let pads = encoded.input_ids.iter().filter(|id| **id == image_pad).count();
        assert_eq!(pads, 10 * 6 / 4);
        assert_eq!(encoded.grids().collect::<Vec<_>>(), [Grid { t: 1, h: 6, w: 10 }]);
    }

    /// Whatever cutoff_len is, an encoded sample fits it and has the tokens of exactly its pictures.
    #[test]
    fn no_cutoff_parts_tokens_from_pictures() {
        let parts = Parts::new();
        let sample = sample(
            &["Look: <image> Who is it?", "A creature with pointed ears.", "And <image>?", "它是蓝色的。"],
            &["wide.png", "windows.png"],
        );
        let whole = parts.cut(&sample, 2048).unwrap();
        let image_pad = parts.tokenizer.special().image_pad;
        let (mut learned, mut skipped, mut with_one, mut with_two) = (0, 0, 0, 0);
        for cutoff_len in 0..whole.input_ids.len() + 2 {
            let encoded = match parts.cut(&sample, cutoff_len) {
                Ok(encoded) => encoded,
                Err(SkipReason::CutoffTooShort { needed, .. }) => {
                    assert!(cutoff_len <= needed);
                    skipped += 1;
                    continue;
                }
                Err(other) => panic!("{other}"),
            };
            learned += 1;
            assert!(encoded.input_ids.len() <= cutoff_len);
            assert_eq!(encoded.input_ids.len(), encoded.labels.len());
            assert!(encoded.supervised_tokens() > 0);
            let pads = encoded.input_ids.iter().filter(|id| **id == image_pad).count();
            let tokens: usize = encoded.grids().map(|grid| parts.processor.tokens(grid)).sum();
            assert_eq!(pads, tokens, "cutoff_len {cutoff_len}");
            assert_eq!(encoded.truncated, cutoff_len < whole.input_ids.len());
            with_one += usize::from(encoded.images.len() == 1);
            with_two += usize::from(encoded.images.len() == 2);
        }
        assert!(learned > 0 && skipped > 0 && with_one > 0 && with_two > 0);
    }

    #[test]
    fn a_cutoff_shorter_than_the_picture_says_what_to_do() {
        let parts = Parts::new();
        let reason = parts.cut(&sample(&["<image>谁?", "它。"], &["windows.png"]), 20).unwrap_err();
        let message = reason.to_string();
        assert!(message.contains("raise cutoff_len or lower image_max_pixels"), "{message}");
    }

    #[test]
    fn unusable_samples_are_skipped_with_their_reason() {
        let parts = Parts::new();
        let bad =
            |contents: &[&str], images: &[&str]| parts.cut(&sample(contents, images), 2048).unwrap_err().to_string();
        assert!(bad(&["<image>", "a"], &["gone.png"]).contains("gone.png"));
        assert!(bad(&["<|image_pad|>", "a"], &[]).contains("<|image_pad|>"));
        assert!(bad(&["q", "<|video_pad|>"], &[]).contains("<|video_pad|>"));
    }

    #[test]
    fn all_samples_in_order_with_progress() {
        let parts = Parts::new();
        let texts: Vec<_> = (0..50).map(|i| format!("question {i}")).collect();
        let mut samples: Vec<_> = texts.iter().map(|text| sample(&[text, "a"], &[])).collect();
        samples[7].images.push("gone.png".into());
        samples[7].messages[0].content.push_str("<image>");
        let encoder = parts.encoder(EncodeOptions::default());
        let expected = encoder.encode(&samples[49]).unwrap().unwrap();
        let rows: Vec<Row> = samples.into_iter().map(Ok).collect();
        let rows: Vec<_> = rows.iter().collect();

        let most = AtomicUsize::new(0);
        let progress = |done| {
            most.fetch_max(done, Ordering::Relaxed);
        };
        let encoded = encoder.encode_all(&rows, &progress, &|| false).unwrap();
        assert_eq!(most.into_inner(), 50);
        assert_eq!(encoded.len(), 50);
        assert!(matches!(encoded[7].as_ref().unwrap_err().reason, SkipReason::BadPicture { .. }));
        assert_eq!(encoded.iter().filter(|row| row.is_err()).count(), 1);
        assert_eq!(encoded[49], Ok(expected));

        let cancelled = AtomicBool::new(false);
        let result = encoder
            .encode_all(&rows, &|_| cancelled.store(true, Ordering::Relaxed), &|| cancelled.load(Ordering::Relaxed));
        assert!(matches!(result, Err(EncodeError::Cancelled)));
    }
}
