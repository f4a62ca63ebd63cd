//! A conversation with the model: its turns, their pictures, and the next answer.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use candle_core::Tensor;
use tunebook_data::IMAGE_PLACEHOLDER;
use tunebook_data::ImageError;
use tunebook_data::ImageProcessor;
use tunebook_data::ImageRef;
use tunebook_data::Message;
use tunebook_nn::adapter::Adapter;

use crate::answers::Answers;
use crate::answers::Details;
use crate::drafts::NGrams;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::generate::Choice;
use crate::generate::Prompt;
use crate::generate::Request;
use crate::model::Model;
use crate::pictures::Features;
use crate::pictures::PictureKey;
use crate::pictures::grid_thw;
use crate::prefix::Prefix;
use crate::prefix::fingerprint;
use crate::regions::regions;
use crate::report::ComparedAnswer;
use crate::report::Exchange;
use crate::settings::Settings;
use crate::system_prompt;

/// The turns so far; pictures are those of all turns, in the order of their placeholders.
#[derive(Default)]
pub(crate) struct Conversation {
    messages: Vec<Message>,
    images: Vec<PathBuf>,
    /// The features of the last prompt's pictures: the next prompt begins with the same.
    pictures: HashMap<PictureKey, Tensor>,
    /// The contents of the adapter that changed them.
    pictures_of: Option<u64>,
    /// The tokens that the model has read.
    prefix: Prefix,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The system prompt; empty for none.
    pub system: &'a str,
    pub text: &'a str,
    pub images: &'a [PathBuf],
}

/// The model and the adapter that are asked.
#[derive(Clone, Copy)]
pub(crate) struct RunContext<'a> {
    pub model: &'a Model,
    pub adapter: Option<&'a Adapter>,
    pub processor: &'a ImageProcessor,
    pub settings: &'a Settings,
    /// What the answers of the data in use say.
    pub labels: Option<&'a NGrams>,
}

impl Conversation {
    /// User turns so far.
    pub(crate) fn turns(&self) -> usize {
        self.messages.len() / 2
    }

    /// The questions so far, without the placeholders of their pictures, and their answers.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        let mut images = self.images.iter();
        let exchange = |pair: &[Message]| {
            let [question, answer] = [0, 1].map(|at| pair[at].content.as_str());
            let count = question.matches(IMAGE_PLACEHOLDER).count();
            Exchange {
                question: question.replace(IMAGE_PLACEHOLDER, ""),
                images: images.by_ref().take(count).cloned().collect(),
                answer: answer.to_string(),
            }
        };
        self.messages.chunks_exact(2).map(exchange).collect()
    }

    /// Forgets the turns. What the model has read stays, since the next conversation begins alike.
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.images.clear();
        self.pictures.clear();
    }

    /// Asks a question and streams the answer; with `n` above 1 several answers, each with its own seed, of which the
    /// conversation goes on with the first. Images for which the text has no `<image>` come in front of it. An
    /// interrupted answer stays in the conversation as far as it came. The whole conversation is read with the system
    /// prompt of the question.
    ///
    /// # Errors
    /// A picture cannot be read, or placeholders and pictures differ in number; regions are wanted where no picture is; a
    /// stop before all pictures have been looked at. The conversation is then as before.
    pub(crate) fn ask(
        &mut self,
        question: Question,
        n: usize,
        details: Details,
        run: RunContext,
        features: &mut Features,
        cx: &Context,
    ) -> Result<Vec<ComparedAnswer>> {
        let RunContext { model, adapter, settings, .. } = run;
        let start = Instant::now();
        let (mut messages, images) = self.with(question);
        if details.regions && images.is_empty() {
            return Err(Error::NoPictures);
        }
        let stop = || cx.is_cancelled();
        let (prompt, looked_at) = self.prompt(question.system, (&messages, &images), run, features, &stop)?;
        let mut answers = Answers::new(start, cx);
        for id in 0..n {
            // The first answer is the one of `n=1`.
            let seed = settings.seed.wrapping_add(messages.len() as u64).wrapping_add((id as u64) << 32);
            let choice = Choice::new(settings, &model.generation, seed);
            let alternatives = details.alternatives;
            let request = Request { id, prompt: prompt.clone(), choice, adapter, alternatives };
            answers.ask((n > 1).then(|| (id + 1).to_string()), request, looked_at.clone(), run);
        }
        let mut answers = answers.generate(&mut self.prefix, run)?;
        if details.regions {
            for ComparedAnswer { report, .. } in &mut answers {
                match regions(&prompt, &images, &report.token_ids, run, &stop) {
                    // The answer is there all the same.
                    Err(Error::Cancelled) => {}
                    found => report.regions = found?,
                }
            }
        }
        messages.push(Message::assistant(answers.first().map(|answer| answer.report.text.clone()).unwrap_or_default()));
        (self.messages, self.images) = (messages, images);
        Ok(answers)
    }

    /// What the model is to read for a question, after the turns so far, and the pictures in it.
    pub(crate) fn prompt_for(
        &mut self,
        question: Question,
        run: RunContext,
        features: &mut Features,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Prompt, Vec<ImageRef>)> {
        let (messages, images) = self.with(question);
        self.prompt(question.system, (&messages, &images), run, features, stop)
    }

    /// The turns and pictures with those of a question.
    fn with(&self, Question { text, images, .. }: Question) -> (Vec<Message>, Vec<PathBuf>) {
        let missing = images.len().saturating_sub(text.matches(IMAGE_PLACEHOLDER).count());
        let mut messages = self.messages.clone();
        messages.push(Message::user(IMAGE_PLACEHOLDER.repeat(missing) + text));
        (messages, [&self.images, images].concat())
    }

    fn prompt(
        &mut self,
        system: &str,
        (messages, images): (&[Message], &[PathBuf]),
        run: RunContext,
        features: &mut Features,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Prompt, Vec<ImageRef>)> {
        let RunContext { model, adapter, processor, settings, .. } = run;
        let of = adapter.filter(|adapter| adapter.changes_pictures()).map(fingerprint).transpose()?;
        if of != self.pictures_of {
            self.pictures.clear();
            self.pictures_of = of;
        }
        let images = images.iter().map(|path| processor.look(path)).collect::<std::result::Result<Vec<_>, _>>();
        let images = images.map_err(ImageError::from)?;
        let tokens: Vec<_> = images.iter().map(|image| processor.tokens(image.grid)).collect();
        let template = system_prompt::template(settings, model).with_default_system(system);
        let slots = template.encode_prompt(&model.tokenizer, messages, None, &tokens)?;
        let mut pictures = HashMap::new();
        let mut in_order = Vec::new();
        for image in &images {
            let key = PictureKey::of(image, processor);
            let picture = match self.pictures.get(&key) {
                Some(known) => known.clone(),
                None => features.get(&model.net, adapter, processor, image, stop)?,
            };
            pictures.insert(key, picture.clone());
            in_order.push(picture);
        }
        self.pictures = pictures;
        let grids = images.iter().map(grid_thw).collect();
        Ok((Prompt { input_ids: slots.ids, features: in_order, grids }, images))
    }
}
