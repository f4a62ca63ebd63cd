use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base64::prelude::{BASE64_STANDARD, Engine};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::*;
use crate::{DatasetInfo, DatasetReader, Message, Role, Thinking, fixtures};

struct Parts {
    tokenizer: Tokenizer,
    processor: ImageProcessor,
    template: &'static Template,
}

type OwnTemplate = fn() -> &'static Template;

/// The ends of the names of each family's fixtures, and its template.
static FAMILIES: [(&str, OwnTemplate); 3] =
    [("", Template::qwen2_vl), ("-qwen2-vl", Template::qwen2_vl), ("-qwen3-vl", Template::qwen3_vl_nothink)];

impl Parts {
    fn new() -> Self {
        Self::of("", Template::qwen2_vl())
    }

    /// Those of the tiny checkpoint of a family.
    fn of(family: &str, template: &'static Template) -> Self {
        let folder = fixtures::path(&format!("tiny{family}"));
        Self {
            tokenizer: Tokenizer::from_folder(&folder).unwrap(),
            processor: ImageProcessor::from_folder(&folder).unwrap(),
            template,
        }
    }

    fn encoder(&self, options: EncodeOptions) -> Encoder<'_> {
        Encoder { tokenizer: &self.tokenizer, template: self.template, processor: &self.processor, options }
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
        origin: Origin { dataset: Arc::from("test"), file: Arc::from(Path::new("test.json")), index: 0 },
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
    for (family, template) in FAMILIES {
        assert!(compare_prompts(family, &Parts::of(family, template())) >= 4, "{family}");
    }
}

/// Returns how many pictures were compared.
fn compare_prompts(family: &str, parts: &Parts) -> usize {
    let mut pictures = 0;
    for case in fixtures::json(&format!("logits{family}/cases.json"))["cases"].as_array().unwrap() {
        if case["checkpoint"] != format!("tiny{family}") {
            continue;
        }
        let name = case["name"].as_str().unwrap();
        let bytes = std::fs::read(fixtures::path(&format!("logits{family}/{name}.safetensors"))).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let i64s = |name| numbers(&expected, name, |b| i64::from_le_bytes(b.try_into().unwrap()));
        let f32s = |name| numbers(&expected, name, |b| f32::from_le_bytes(b.try_into().unwrap()));

        let mut system = None;
        let mut messages = Vec::new();
        for message in case["messages"].as_array().unwrap() {
            let content = message["content"].as_str().unwrap();
            match message["role"].as_str().unwrap() {
                "system" => system = Some(content),
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
        let prompt = parts.template.encode_prompt(&parts.tokenizer, &messages, system, &tokens).unwrap();
        let ids: Vec<_> = prompt.ids.into_iter().map(i64::from).collect();
        assert_eq!(ids, i64s("input_ids").unwrap(), "{name}");
        assert_eq!(grids, i64s("image_grid_thw").unwrap_or_default(), "{name}");
        assert!(pixels == f32s("pixel_values").unwrap_or_default(), "{name}: other pixels");
    }
    pictures
}

/// The same record with each message as a list of parts, which hold the pictures: paths and data URLs by turns.
fn in_parts(entry: &Value, record: &Value) -> Option<Value> {
    entry.get("formatting")?;
    let tag = |of: &str, key: &str, default: &str| entry[of][key].as_str().unwrap_or(default).to_owned();
    let (messages, content) = (tag("columns", "messages", "conversations"), tag("tags", "content_tag", "value"));
    let mut record = record.clone();
    let images = record.as_object_mut()?.remove("images").unwrap_or_default();
    let mut images = images.as_array().into_iter().flatten().map(|image| image.as_str().unwrap()).enumerate();
    for message in record[messages].as_array_mut()? {
        let mut parts = Vec::new();
        for (index, text) in message[&content].as_str()?.split(crate::IMAGE_PLACEHOLDER).enumerate() {
            parts.extend((index > 0).then(|| match images.next().unwrap() {
                (at, image) if at % 2 == 0 => json!({"type": "image", "image": image}),
                (_, image) => {
                    let bytes = std::fs::read(fixtures::path("pictures").join(image)).unwrap();
                    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
                    json!({"type": "image_url", "image_url": {"url": url}})
                }
            }));
            parts.push(json!({"type": "text", "text": text}));
        }
        message[&content] = parts.into();
    }
    Some(record)
}

/// From a record through dataset_info.json to ids and labels, as LLaMA-Factory's own loader gives them.
#[test]
fn records_become_llamafactorys_ids_and_labels() {
    for (family, template) in FAMILIES {
        compare_records(family, &Parts::of(family, template()));
    }
}

fn compare_records(family: &str, parts: &Parts) {
    let numbers =
        |list: &Value| -> Vec<i64> { list.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect() };
    let (samples, mut compared) = (fixtures::json(&format!("encode{family}/samples.json")), 0);
    let cases = samples["samples"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut entry = case["entry"].clone();
        entry["file_name"] = "data.json".into();
        let write = |file: &str, value: Value| std::fs::write(dir.path().join(file), value.to_string()).unwrap();
        write("dataset_info.json", json!({"data": entry}));
        let records: Vec<_> =
            std::iter::once(case["sample"].clone()).chain(in_parts(&case["entry"], &case["sample"])).collect();
        write("data.json", json!(records));
        let entry = DatasetInfo::read(dir.path()).unwrap().entry("data").unwrap();
        let rows = DatasetReader::new(&fixtures::path("pictures"), dir.path(), None, 42).read(&entry).unwrap();

        let setting = |key: &str| case["settings"].get(key);
        let number = |key: &str, default| setting(key).map_or(default, |n| n.as_u64().unwrap() as usize);
        let max_pixels = number("image_max_pixels", crate::DEFAULT_IMAGE_MAX_PIXELS);
        let processor = parts.processor.clone().with_limits(max_pixels, crate::DEFAULT_IMAGE_MIN_PIXELS).unwrap();
        let template =
            setting("template").map_or(parts.template, |name| Template::by_name(name.as_str().unwrap()).unwrap());
        let enable = setting("enable_thinking").map_or(Some(true), Value::as_bool);
        let template = template.with_thinking(Thinking { enable, preserve: false });
        let encoder = Encoder {
            processor: &processor,
            template: &template,
            ..parts.encoder(EncodeOptions {
                cutoff_len: number("cutoff_len", 2048),
                train_on_prompt: setting("train_on_prompt").is_some(),
                mask_history: setting("mask_history").is_some(),
            })
        };
        for row in rows {
            let encoded = encoder.encode(&row.unwrap()).unwrap().unwrap();
            let ids: Vec<_> = encoded.input_ids.iter().map(|id| i64::from(*id)).collect();
            if name == "index_placeholder" {
                // LLaMA-Factory replaces {{idx}} in the text itself; tunebook leaves text as it is.
                assert_ne!(ids, numbers(&case["input_ids"]));
                let text = parts.tokenizer.decode(&encoded.input_ids, false).unwrap();
                assert!(text.contains("Turn {{idx}}, then {{content}}."), "{text}");
                continue;
            }
            let (expected, labels) = (numbers(&case["input_ids"]), numbers(&case["labels"]));
            // LLaMA-Factory may cut through a picture; here no part of it stays.
            let (whole, part) = expected.split_at(ids.len().min(expected.len()));
            let special = parts.tokenizer.special();
            let is_picture = |id: &i64| [special.vision_start, special.image_pad].map(i64::from).contains(id);
            assert!(part.is_empty() || encoded.truncated && part.iter().all(is_picture), "{family} {name}: {part:?}");
            assert_eq!(ids, whole, "{family} {name}");
            assert_eq!(encoded.labels, labels[..whole.len()], "{family} {name}");
            compared += 1;
        }
    }
    // All but the two of alpaca's format also in parts, and without index_placeholder.
    assert_eq!(compared, 2 * cases.len() - 2 - 2);
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

#[test]
fn the_last_answer_begins_behind_its_prompt() {
    let parts = Parts::new();
    let sample = sample(&["Who?", "A fox.", "Sure?", "Yes."], &[]);
    let template = Template::qwen3_vl().with_thinking(Thinking { enable: Some(false), preserve: false });
    for (train_on_prompt, mask_history) in [(false, false), (true, false), (false, true)] {
        let options = EncodeOptions { train_on_prompt, mask_history, ..EncodeOptions::default() };
        let encoder = Encoder { template: &template, ..parts.encoder(options) };
        let encoded = encoder.encode(&sample).unwrap().unwrap();
        let (prompt, answer) = encoded.input_ids.split_at(encoded.answer_start);
        let text = |ids: &[u32]| parts.tokenizer.decode(ids, false).unwrap();
        assert_eq!(text(answer), "Yes.<|im_end|>\n");
        let end = "Sure?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
        assert!(text(prompt).ends_with(end), "{}", text(prompt));
    }
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
    let bad = |contents: &[&str], images: &[&str]| parts.cut(&sample(contents, images), 2048).unwrap_err().to_string();
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
    assert!(matches!(encoded[7].as_ref().unwrap_err().reason, SkipReason::BadPicture(_)));
    assert_eq!(encoded.iter().filter(|row| row.is_err()).count(), 1);
    assert_eq!(encoded[49], Ok(expected));

    let cancelled = AtomicBool::new(false);
    let result =
        encoder.encode_all(&rows, &|_| cancelled.store(true, Ordering::Relaxed), &|| cancelled.load(Ordering::Relaxed));
    assert!(matches!(result, Err(EncodeError::Cancelled)));
}
