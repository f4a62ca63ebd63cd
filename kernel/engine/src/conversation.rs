//! A conversation with the model: its turns, their pictures, and the next answer.

use std::path::PathBuf;
use std::time::Instant;

use tunebook_data::IMAGE_PLACEHOLDER;
use tunebook_data::ImageProcessor;
use tunebook_data::Message;
use tunebook_data::Template;
use tunebook_nn::adapter::Adapter;

use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::generate::Choice;
use crate::generate::Prompt;
use crate::generate::generate;
use crate::model::Model;
use crate::pictures::Features;
use crate::pictures::grid_thw;
use crate::report::ChatReport;
use crate::settings::Settings;

/// The turns so far; pictures are those of all turns, in the order of their placeholders.
#[derive(Clone, Default)]
pub struct Conversation {
    messages: Vec<Message>,
    images: Vec<PathBuf>,
}

/// Whom a question is put to.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub model: &'a Model,
    pub adapter: Option<&'a Adapter>,
    pub processor: &'a ImageProcessor,
    pub settings: &'a Settings,
}

impl Conversation {
    /// User turns so far.
    pub fn turns(&self) -> usize {
        self.messages.len() / 2
    }

    /// Asks `text` about `images` and streams the answer. Pictures whose `<image>` the text does not hold come in
    /// front of it. An interrupted answer stays in the conversation as far as it came.
    ///
    /// # Errors
    /// A picture cannot be read, or placeholders and pictures differ in number; the conversation is then as before.
    pub fn ask(
        &mut self,
        text: &str,
        images: &[PathBuf],
        asking: Asking,
        features: &mut Features,
        cx: &Context,
    ) -> Result<ChatReport> {
        let Asking { model, adapter, settings, .. } = asking;
        let start = Instant::now();
        let mut next = self.clone();
        let missing = images.len().saturating_sub(text.matches(IMAGE_PLACEHOLDER).count());
        next.messages.push(Message::user(IMAGE_PLACEHOLDER.repeat(missing) + text));
        next.images.extend_from_slice(images);

        let prompt = next.prompt(asking, features)?;
        let choice = Choice::new(settings, &model.generation, settings.seed.wrapping_add(next.messages.len() as u64));
        let mut pieces = model.tokenizer.decode_stream(true);
        let (mut answer, mut new_tokens) = (String::new(), 0);
        let end = generate(model, adapter, &prompt, &choice, &|| cx.is_cancelled(), &mut |token| {
            new_tokens += 1;
            let piece = pieces.push(token)?;
            answer.push_str(&piece);
            if !piece.is_empty() {
                cx.emit(Event::Text(piece));
            }
            Ok(())
        })?;
        next.messages.push(Message::assistant(answer.clone()));
        *self = next;
        let prompt_tokens = prompt.input_ids.len();
        Ok(ChatReport { text: answer, end, prompt_tokens, new_tokens, elapsed: start.elapsed() })
    }

    fn prompt(&self, asking: Asking, features: &mut Features) -> Result<Prompt> {
        let Asking { model, processor, settings, .. } = asking;
        let images = self.images.iter().map(|path| processor.look(path)).collect::<std::result::Result<Vec<_>, _>>()?;
        let tokens: Vec<_> = images.iter().map(|image| processor.tokens(image.grid)).collect();
        let template = Template::by_name(&settings.template)?;
        let slots = template.encode_prompt(&model.tokenizer, &self.messages, "", &tokens)?;
        let features = images.iter().map(|image| features.get(&model.net, processor, image));
        Ok(Prompt {
            input_ids: slots.ids,
            features: features.collect::<Result<_>>()?,
            grids: images.iter().map(grid_thw).collect(),
        })
    }
}
