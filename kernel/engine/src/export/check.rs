//! Whether llama.cpp answers as the session does: greedy answers of both to samples of the data, side by side.
//!
//! Both get the same prompt, token for token. llama.cpp first gets the pictures in the size that they have; where it has to
//! resize them it does so in a way of its own (it keeps their shape and fills the rest with black, and knows no other
//! limits than 8 and 4096 tokens). If the answer is another one then, it is asked once more with the pictures as the model
//! sees them here, which tells whether it comes of that.

use std::io::Cursor;
use std::path::Path;

use image::ImageFormat;
use image::RgbImage;
use tunebook_data::Encoded;
use tunebook_data::read_picture;

use super::gguf::GgufFiles;
use super::llama_server::LlamaServer;
use crate::adapters::Chosen;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::evaluate::Samples;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::pictures::Features;
use crate::predict::predict;
use crate::report::CheckReport;
use crate::report::DifferentAnswer;
use crate::settings::Settings;

/// The most tokens that llama.cpp makes of a picture.
const MOST_IMAGE_TOKENS: usize = 4096;

/// Asks llama.cpp's `program` and the session the same. A stop leaves the comparison of what was asked before.
///
/// # Errors
/// No sample can be used; the program does not answer; a stop before the first answer.
pub(crate) fn check(
    program: &Path,
    files: &GgufFiles,
    samples: &Samples,
    chosen: &Chosen,
    run: RunContext,
    features: &mut Features,
    cx: &Context,
) -> Result<CheckReport> {
    // llama.cpp's penalty looks at the last 64 tokens only.
    let greedy =
        Settings { do_sample: Some(false), repetition_penalty: Some(1.0), output_dir: None, ..run.settings.clone() };
    let run = RunContext { settings: &greedy, ..run };
    let mut here = Vec::new();
    predict(
        samples,
        chosen,
        run,
        features,
        (None, &[]),
        &mut |answer| here.push((answer.index, answer.predict.clone())),
        cx,
    )?;

    let longest = here.iter().map(|(index, _)| context(&samples.list[*index])).max().unwrap_or(0);
    let context = longest + greedy.max_new_tokens;
    let mut server = LlamaServer::start(program, files, context, cx.cancel)?;
    let total = here.len();
    let mut report = CheckReport {
        program: program.to_path_buf(),
        done: 0,
        total,
        equal: 0,
        equal_resized: 0,
        different: Vec::new(),
    };
    for (index, here) in here {
        cx.emit(Event::Progress { task: Task::Checking, done: report.done, total });
        let sample = &samples.list[index];
        let prompt = prompt(sample, run, &server.marker)?;
        let mut ask =
            |pictures: &[Vec<u8>]| server.answer(program, &prompt, pictures, greedy.max_new_tokens, cx.cancel);
        let as_they_are =
            pictures(sample, |path| Ok(read_picture(path).map_err(tunebook_data::ImageError::from)?.rgb))?;
        let resized =
            pictures(sample, |path| Ok(run.processor.resized(path).map_err(tunebook_data::ImageError::from)?))?;
        let answers = ask(&as_they_are).and_then(|there| match there != here && as_they_are != resized {
            true => Ok((there, Some(ask(&resized)?))),
            false => Ok((there, None)),
        });
        let (there, there_resized) = match answers {
            Err(Error::Cancelled) if report.done > 0 => break,
            answers => answers?,
        };
        report.done += 1;
        if there == here {
            report.equal += 1;
        } else if there_resized.is_some_and(|there| there == here) {
            report.equal_resized += 1;
        } else {
            report.different.push(DifferentAnswer { index, here, llama_cpp: there });
        }
    }
    Ok(report)
}

/// How many tokens llama.cpp may make of the question.
fn context(sample: &Encoded) -> usize {
    sample.answer_start + sample.images.len() * MOST_IMAGE_TOKENS
}

/// The text of a sample's question, with `marker` in place of each picture's tokens.
fn prompt(sample: &Encoded, run: RunContext, marker: &str) -> Result<String> {
    let (tokenizer, special) = (&run.model.tokenizer, run.model.tokenizer.special());
    let mut text = String::new();
    let mut rest = &sample.input_ids[..sample.answer_start];
    let is_block = |ids: &[u32]| ids.starts_with(&[special.vision_start, special.image_pad]);
    while let Some(start) = (0..rest.len()).find(|start| is_block(&rest[*start..])) {
        text += &tokenizer.decode(&rest[..start], false)?;
        text += marker;
        let end =
            rest[start..].iter().position(|id| *id == special.vision_end).map_or(rest.len(), |end| start + end + 1);
        rest = &rest[end..];
    }
    Ok(text + &tokenizer.decode(rest, false)?)
}

/// The pictures of a sample as files in PNG.
fn pictures(sample: &Encoded, read: impl Fn(&Path) -> Result<RgbImage>) -> Result<Vec<Vec<u8>>> {
    let file = |path: &Path| {
        let mut file = Cursor::new(Vec::new());
        let written = read(path)?.write_to(&mut file, ImageFormat::Png);
        written.map_err(|error| Error::Other(format!("{}: {error}", path.display())))?;
        Ok(file.into_inner())
    };
    sample.images.iter().map(|image| file(&image.path)).collect()
}
