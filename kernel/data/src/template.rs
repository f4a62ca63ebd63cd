//! Chat templates: conversations to token ids, slot by slot as LLaMA-Factory does.

mod ollama;

use std::borrow::Cow;
use std::ops::Range;

use tunebook_quote::REMEDY;

use crate::sample::IMAGE_PLACEHOLDER;
use crate::thoughts::{NO_THOUGHT, Thinking, forget, has_thought};
use crate::tools::{ToolError, function_calls, tool_prompt};
use crate::{Message, Role, Tokenizer, TokenizerError};

/// The text around each kind of message. Every slot (system, user, assistant) is tokenized by itself and the ids
/// are joined: an answer that begins with a newline gets other tokens than in one piece.
///
/// One oddity of LLaMA-Factory's is left out: it also replaces a literal `{{idx}}` in a user's text.
///
/// A call of tools is written as an assistant's message, what a tool gave as a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub name: &'static str,
    /// Used where a conversation has no system message; where it is empty, such a conversation begins with the user.
    pub default_system: Cow<'static, str>,
    /// What becomes of thoughts, if the template is for a model that thinks.
    thinking: Option<Thinking>,
    system: [&'static str; 2],
    user: [&'static str; 2],
    observation: [&'static str; 2],
    assistant: [&'static str; 2],
}

static QWEN2_VL: Template = Template::qwen("qwen2_vl", "You are a helpful assistant.", None);
static QWEN3_VL: Template = Template::qwen("qwen3_vl", "", Some(Thinking { enable: Some(true), preserve: false }));
static QWEN3_VL_NOTHINK: Template = Template::qwen("qwen3_vl_nothink", "", None);

static TEMPLATES: [&Template; 3] = [&QWEN2_VL, &QWEN3_VL, &QWEN3_VL_NOTHINK];

/// A question and its answer. The first question carries the system message in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub source: Slots,
    pub target: Slots,
}

/// Token ids, and which of them stand for pictures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    pub ids: Vec<u32>,
    /// Each picture's block: `<|vision_start|>`, the `<|image_pad|>`s, `<|vision_end|>`.
    pub images: Vec<Range<usize>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("the conversation has {placeholders} <image>, but there are {images} images")]
    ImageCount { placeholders: usize, images: usize },
    #[error("the text contains {token}, which is reserved for images: write <image>")]
    VisionToken { token: &'static str },
    #[error("user and assistant must alternate, starting with the user{REMEDY}message {index} does not")]
    Order { index: usize },
    #[error("message {index} is not a function call, which is JSON with `name` and `arguments`: {source}")]
    FunctionCall { index: usize, source: ToolError },
    #[error("the tools are not a JSON list of objects: {source}")]
    Tools { source: ToolError },
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl Template {
    /// The names of all templates, as LLaMA-Factory has them.
    pub const NAMES: &[&str] = &["qwen2_vl", "qwen3_vl", "qwen3_vl_nothink"];

    /// All Qwen models write conversations alike.
    const fn qwen(name: &'static str, default_system: &'static str, thinking: Option<Thinking>) -> Self {
        Self {
            name,
            default_system: Cow::Borrowed(default_system),
            thinking,
            system: ["<|im_start|>system\n", "<|im_end|>\n"],
            user: ["<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"],
            observation: [
                "<|im_start|>user\n<tool_response>\n",
                "\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
            ],
            assistant: ["", "<|im_end|>\n"],
        }
    }

    /// The template of Qwen2-VL and Qwen2.5-VL.
    pub fn qwen2_vl() -> &'static Self {
        &QWEN2_VL
    }

    /// The template of Qwen3-VL where it thinks before it answers.
    pub fn qwen3_vl() -> &'static Self {
        &QWEN3_VL
    }

    /// The template of Qwen3-VL where it does not.
    pub fn qwen3_vl_nothink() -> &'static Self {
        &QWEN3_VL_NOTHINK
    }

    /// The template of that name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        TEMPLATES.iter().find(|template| template.name == name).copied()
    }

    /// The same with another default system message, which may be empty.
    pub fn with_default_system(&self, system: &str) -> Self {
        Self { default_system: Cow::Owned(system.to_owned()), ..self.clone() }
    }

    /// The same with another way with thoughts; a template without thoughts stays as it is.
    pub fn with_thinking(&self, thinking: Thinking) -> Self {
        Self { thinking: self.thinking.and(Some(thinking)), ..self.clone() }
    }

    /// The system message of a conversation whose own is `system`, if that is not empty, with a description of `tools`
    /// behind it, a JSON list as Qwen2.5 and Qwen3 are taught to read it; none for the default. With tools it is there
    /// even where it is empty, since an empty list is not described.
    ///
    /// # Errors
    /// `tools` are no JSON list of objects.
    pub fn with_tools(&self, system: &str, tools: &str) -> Result<Option<String>, TemplateError> {
        let system = Some(system).filter(|system| !system.is_empty());
        if tools.is_empty() {
            return Ok(system.map(str::to_owned));
        }
        let description = tool_prompt(tools).map_err(|source| TemplateError::Tools { source })?;
        Ok(Some(system.unwrap_or(&self.default_system).to_owned() + &description))
    }

    /// A conversation as pairs of question and answer. `image_tokens[i]` is the number of `<|image_pad|>` that
    /// the i-th `<image>` becomes; without a `system` message it has the default one. With `mask_history` only the last answer is
    /// learned, and the ones before are shown as they are in a prompt.
    ///
    /// # Errors
    /// Messages that do not alternate or lack the last answer, another number of `<image>` than of pictures,
    /// vision tokens written out in the text.
    pub fn encode_multiturn(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        system: Option<&str>,
        image_tokens: &[usize],
        mask_history: bool,
    ) -> Result<Vec<Turn>, TemplateError> {
        if messages.len() % 2 == 1 {
            return Err(TemplateError::Order { index: messages.len() });
        }
        let Some(thinking) = self.thinking else {
            return Ok(turns(self.encode(tokenizer, messages, system, image_tokens)?));
        };
        let is_history = |index| mask_history && !thinking.preserve && index + 1 < messages.len();
        let messages = forget(messages, |index| thinking.enable == Some(false) || is_history(index));
        let mut turns = turns(self.encode(tokenizer, &messages, system, image_tokens)?);
        for (turn, index) in turns.iter_mut().zip((1..).step_by(2)) {
            if is_history(index) || has_thought(&messages[index].content) {
                continue;
            }
            let mut thought = Slots::default();
            thought.push_text(tokenizer, NO_THOUGHT)?;
            match thinking.learns_no_thought() {
                true => {
                    thought.append(std::mem::take(&mut turn.target));
                    turn.target = thought;
                }
                false => turn.source.append(thought),
            }
        }
        Ok(turns)
    }

    /// A conversation that waits for an answer (its last message is the user's) as one prompt, which ends with
    /// the assistant's header, and with an empty thought where a model that thinks should not.
    ///
    /// # Errors
    /// As [`encode_multiturn`](Self::encode_multiturn).
    pub fn encode_prompt(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        system: Option<&str>,
        image_tokens: &[usize],
    ) -> Result<Slots, TemplateError> {
        if messages.len().is_multiple_of(2) {
            return Err(TemplateError::Order { index: messages.len() });
        }
        let messages = match self.thinking {
            Some(thinking) if !thinking.preserve => Cow::Owned(forget(messages, |_| true)),
            _ => Cow::Borrowed(messages),
        };
        let mut prompt = Slots::default();
        for slot in self.encode(tokenizer, &messages, system, image_tokens)? {
            prompt.append(slot);
        }
        if self.thinking.is_some_and(|thinking| !thinking.learns_no_thought()) {
            prompt.push_text(tokenizer, NO_THOUGHT)?;
        }
        Ok(prompt)
    }

    /// One [`Slots`] a message; the system message is part of the first.
    fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        system: Option<&str>,
        image_tokens: &[usize],
    ) -> Result<Vec<Slots>, TemplateError> {
        let placeholders = messages.iter().map(|message| message.content.matches(IMAGE_PLACEHOLDER).count()).sum();
        if placeholders != image_tokens.len() {
            return Err(TemplateError::ImageCount { placeholders, images: image_tokens.len() });
        }
        let mut image_tokens = image_tokens.iter().copied();
        let mut encoded = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            if message.role.is_answer() != (index % 2 == 1) {
                return Err(TemplateError::Order { index });
            }
            let mut slots = Slots::default();
            let default = Some(&*self.default_system).filter(|system| !system.is_empty());
            if index == 0
                && let Some(system) = system.or(default)
            {
                let [before, after] = self.system;
                slots.push_text(tokenizer, &format!("{before}{system}{after}"))?;
            }
            let content = match message.role {
                Role::Function => {
                    let calls = function_calls(&message.content);
                    Cow::from(calls.map_err(|source| TemplateError::FunctionCall { index, source })?)
                }
                _ => Cow::from(&message.content),
            };
            let [before, after] = match message.role {
                Role::User => self.user,
                Role::Observation => self.observation,
                Role::Assistant | Role::Function => self.assistant,
            };
            let text = format!("{before}{content}{after}");
            slots.push_slot(tokenizer, &text, &mut image_tokens)?;
            encoded.push(slots);
        }
        Ok(encoded)
    }
}

/// Slots of questions and answers by turns.
fn turns(slots: Vec<Slots>) -> Vec<Turn> {
    let mut slots = slots.into_iter();
    std::iter::from_fn(|| Some(Turn { source: slots.next()?, target: slots.next()? })).collect()
}

impl Slots {
    /// Tokenizes a slot. What `<image>` becomes is special tokens, at which a tokenizer cuts the text anyway,
    /// so the parts between may be tokenized by themselves.
    fn push_slot(
        &mut self,
        tokenizer: &Tokenizer,
        text: &str,
        image_tokens: &mut impl Iterator<Item = usize>,
    ) -> Result<(), TemplateError> {
        let special = tokenizer.special();
        for (part, piece) in text.split(IMAGE_PLACEHOLDER).enumerate() {
            if part > 0 {
                let start = self.ids.len();
                self.ids.push(special.vision_start);
                let pads = image_tokens.next().unwrap_or(0);
                self.ids.resize(start + 1 + pads, special.image_pad);
                self.ids.push(special.vision_end);
                self.images.push(start..self.ids.len());
            }
            self.push_text(tokenizer, piece)?;
        }
        Ok(())
    }

    fn push_text(&mut self, tokenizer: &Tokenizer, text: &str) -> Result<(), TemplateError> {
        if text.is_empty() {
            return Ok(());
        }
        let ids = tokenizer.encode(text)?;
        let special = tokenizer.special();
        for (id, token) in [(special.image_pad, "<|image_pad|>"), (special.video_pad, "<|video_pad|>")] {
            if ids.contains(&id) {
                return Err(TemplateError::VisionToken { token });
            }
        }
        self.ids.extend(ids);
        Ok(())
    }

    /// Joins `other` to the end.
    pub(crate) fn append(&mut self, other: Self) {
        let shift = self.ids.len();
        self.ids.extend(other.ids);
        self.images.extend(other.images.into_iter().map(|block| block.start + shift..block.end + shift));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn text(slots: &Slots) -> String {
        fixtures::tokenizer().decode(&slots.ids, false).unwrap()
    }

    #[test]
    fn the_text_of_a_conversation() {
        let messages = [
            Message::user("<image>谁?"),
            Message::assistant("A fox."),
            Message::user("Sure? <image>"),
            Message::assistant("Yes."),
        ];
        let tokenizer = fixtures::tokenizer();
        let turns = Template::qwen2_vl().encode_multiturn(&tokenizer, &messages, None, &[2, 1], false).unwrap();
        assert_eq!(turns.len(), 2);
        assert_eq!(
            text(&turns[0].source),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n\
             <|vision_start|><|image_pad|><|image_pad|><|vision_end|>谁?<|im_end|>\n<|im_start|>assistant\n"
        );
        assert_eq!(text(&turns[0].target), "A fox.<|im_end|>\n");
        assert_eq!(
            text(&turns[1].source),
            "<|im_start|>user\nSure? <|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
        );
        let block = turns[1].source.images[0].clone();
        let special = tokenizer.special();
        assert_eq!(turns[1].source.ids[block], [special.vision_start, special.image_pad, special.vision_end]);
    }

    #[test]
    fn a_prompt_waits_for_the_answer() {
        let tokenizer = fixtures::tokenizer();
        let messages = [Message::user("a"), Message::assistant("b"), Message::user("<image>c")];
        let prompt = Template::qwen2_vl().encode_prompt(&tokenizer, &messages, Some("Be brief."), &[1]).unwrap();
        assert_eq!(
            text(&prompt),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n\
             b<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>c<|im_end|>\n\
             <|im_start|>assistant\n"
        );
        assert_eq!(prompt.ids[prompt.images[0].start], tokenizer.special().vision_start);
    }

    #[test]
    fn a_conversation_begins_with_the_system_message_that_llamafactory_gives_it() {
        let tokenizer = fixtures::tokenizer();
        let cases = fixtures::json("recipe/systems.json");
        for case in cases["cases"].as_array().unwrap() {
            let template = match case["default_system"].as_str() {
                Some(system) => Template::qwen2_vl().with_default_system(system),
                None => Template::qwen2_vl().clone(),
            };
            let system =
                template.with_tools(case["system"].as_str().unwrap(), case["tools"].as_str().unwrap()).unwrap();
            let prompt =
                template.encode_prompt(&tokenizer, &[Message::user("What is it?")], system.as_deref(), &[]).unwrap();
            assert_eq!(serde_json::json!(prompt.ids), case["input_ids"], "{case}");
        }
    }

    /// Cutting a text at `<image>` before tokenizing gives what tokenizing the whole text gives.
    #[test]
    fn pictures_inside_text_change_no_other_token() {
        let tokenizer = fixtures::tokenizer();
        let content = "It's <image> a  <image>\n\n creature<image>";
        let prompt =
            Template::qwen2_vl().encode_prompt(&tokenizer, &[Message::user(content)], None, &[3, 1, 2]).unwrap();
        let mut whole = "<|im_start|>user\n".to_owned() + content + "<|im_end|>\n<|im_start|>assistant\n";
        for pads in [3, 1, 2] {
            let block = format!("<|vision_start|>{}<|vision_end|>", "<|image_pad|>".repeat(pads));
            whole = whole.replacen("<image>", &block, 1);
        }
        let expected = tokenizer.encode(&whole).unwrap();
        assert_eq!(prompt.ids[prompt.ids.len() - expected.len()..], expected);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let tokenizer = fixtures::tokenizer();
        let encode = |messages: &[Message], images: &[usize]| {
            Template::qwen2_vl().encode_prompt(&tokenizer, messages, None, images).unwrap_err().to_string()
        };
        assert!(encode(&[Message::user("a <image>")], &[]).contains("1 <image>"));
        assert!(encode(&[Message::user("<|image_pad|>")], &[]).contains("write <image>"));
        assert!(encode(&[Message::assistant("a")], &[]).contains("must alternate"));
        assert!(encode(&[], &[]).contains("must alternate"));
    }

    #[test]
    fn every_template_is_found_by_its_name() {
        for (template, name) in TEMPLATES.iter().zip(Template::NAMES) {
            assert_eq!(template.name, *name);
            assert_eq!(Template::by_name(name), Some(*template));
        }
        assert_eq!((Template::by_name("qwen"), TEMPLATES.len()), (None, Template::NAMES.len()));
    }

    #[test]
    fn qwen3_vl_has_no_system_message_of_its_own() {
        let tokenizer = fixtures::tokenizer();
        let question = [Message::user("<image>Who?")];
        for template in [Template::qwen3_vl(), Template::qwen3_vl_nothink()] {
            let prompt =
                |system: Option<&str>| text(&template.encode_prompt(&tokenizer, &question, system, &[1]).unwrap());
            let alone =
                "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Who?<|im_end|>\n<|im_start|>assistant\n";
            assert_eq!(prompt(None), alone);
            assert_eq!(prompt(Some("Be brief.")), format!("<|im_start|>system\nBe brief.<|im_end|>\n{alone}"));
            let tools = template.with_tools("", r#"[{"name": "count"}]"#).unwrap().unwrap();
            assert!(tools.starts_with("\n\n# Tools"), "{tools}");
            // LLaMA-Factory begins a system message for the tools before it sees that there is none.
            let nothing = template.with_tools("", "[]").unwrap();
            assert_eq!(prompt(nothing.as_deref()), format!("<|im_start|>system\n<|im_end|>\n{alone}"));
        }
    }

    /// What LLaMA-Factory makes of two answers, the first with a thought: what of each is prompt, and what is learned.
    #[test]
    fn thoughts_are_those_of_llamafactory() {
        const THOUGHT: &str = "<think>\nRed.\n</think>\n\n\nA fox.";
        const NONE: &str = "<think>\n\n</think>\n\n";
        const ADDED: &str = "<think>\n\n</think>\n\n\nYes.";
        let tokenizer = fixtures::tokenizer();
        let messages =
            [Message::user("Who?"), Message::assistant(THOUGHT), Message::user("Sure?"), Message::assistant("\nYes.")];
        for (enable, preserve, mask_history, expected) in [
            (Some(true), false, false, ["", THOUGHT, "", ADDED]),
            (Some(true), false, true, ["", "A fox.", "", ADDED]),
            (Some(true), true, false, ["", THOUGHT, "", ADDED]),
            (Some(true), true, true, ["", THOUGHT, "", ADDED]),
            (Some(false), false, false, [NONE, "A fox.", NONE, "Yes."]),
            (Some(false), false, true, ["", "A fox.", NONE, "Yes."]),
            (Some(false), true, false, [NONE, "A fox.", NONE, "Yes."]),
            (Some(false), true, true, [NONE, "A fox.", NONE, "Yes."]),
            (None, false, false, ["", THOUGHT, NONE, "\nYes."]),
            (None, false, true, ["", "A fox.", NONE, "\nYes."]),
            (None, true, false, ["", THOUGHT, NONE, "\nYes."]),
            (None, true, true, ["", THOUGHT, NONE, "\nYes."]),
        ] {
            let thinking = Thinking { enable, preserve };
            let template = Template::qwen3_vl().with_thinking(thinking);
            let turns = template.encode_multiturn(&tokenizer, &messages, None, &[], mask_history).unwrap();
            let found = turns.iter().flat_map(|turn| {
                let source = text(&turn.source);
                let (_, prompt) = source.split_once("<|im_start|>assistant\n").unwrap();
                [prompt.to_owned(), text(&turn.target).trim_end_matches("<|im_end|>\n").to_owned()]
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{thinking:?}, mask_history {mask_history}");
        }
        for (enable, preserve, expected) in [
            (Some(true), false, ["A fox.", ""]),
            (Some(true), true, [THOUGHT, ""]),
            (Some(false), false, ["A fox.", NONE]),
            (Some(false), true, [THOUGHT, NONE]),
            (None, false, ["A fox.", NONE]),
            (None, true, [THOUGHT, NONE]),
        ] {
            let thinking = Thinking { enable, preserve };
            let template = Template::qwen3_vl().with_thinking(thinking);
            let prompt = text(&template.encode_prompt(&tokenizer, &messages[..3], None, &[]).unwrap());
            let answers = prompt.split("<|im_start|>assistant\n").skip(1);
            let found: Vec<_> = answers.map(|answer| answer.split("<|im_end|>").next().unwrap()).collect();
            assert_eq!(found, expected, "{thinking:?}");
        }
        let plain = Template::qwen3_vl_nothink();
        assert_eq!(&plain.with_thinking(Thinking { enable: Some(false), preserve: false }), plain);
        let turns = plain.encode_multiturn(&tokenizer, &messages, None, &[], true).unwrap();
        assert_eq!(text(&turns[0].target), format!("{THOUGHT}<|im_end|>\n"));
    }

    #[test]
    fn a_chat_begins_as_llamafactorys_begins() {
        let tokenizer = Tokenizer::from_folder(&fixtures::path("tiny-qwen3-vl")).unwrap();
        let prompts = fixtures::json("encode-qwen3-vl/prompts.json");
        for case in prompts["prompts"].as_array().unwrap() {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let messages: Vec<_> = (case["messages"].as_array().unwrap().iter())
                .map(|message| match message["role"] == "user" {
                    true => Message::user(text(&message["content"])),
                    false => Message::assistant(text(&message["content"])),
                })
                .collect();
            let thinking = Thinking { enable: case["settings"]["enable_thinking"].as_bool(), preserve: false };
            let template = Template::by_name(&text(&case["settings"]["template"])).unwrap().with_thinking(thinking);
            let prompt = template.encode_prompt(&tokenizer, &messages, case["system"].as_str(), &[]).unwrap();
            assert_eq!(serde_json::json!(prompt.ids), case["input_ids"], "{case}");
        }
    }

    /// LLaMA-Factory tokenizes it by itself too.
    #[test]
    fn an_empty_thought_has_tokens_of_its_own() {
        let tokenizer = fixtures::tokenizer();
        let messages = [Message::user("<image>Who?"), Message::assistant("\n\nA <image>.")];
        let plain = Template::qwen3_vl_nothink().encode_multiturn(&tokenizer, &messages, None, &[2, 1], false).unwrap();
        let turns = Template::qwen3_vl().encode_multiturn(&tokenizer, &messages, None, &[2, 1], false).unwrap();
        let thought = tokenizer.encode(NO_THOUGHT).unwrap();
        assert_eq!(turns[0].target.ids, [thought, plain[0].target.ids.clone()].concat());
        let block = turns[0].target.images[0].clone();
        assert_eq!(turns[0].target.ids[block.start], tokenizer.special().vision_start);
        assert_eq!(turns[0].source, plain[0].source);
    }

    #[test]
    fn a_picture_in_a_thought_that_is_forgotten_is_one_too_many() {
        let messages = [Message::user("Who?"), Message::assistant("<think>\n<image>\n</think>\n\nA fox.")];
        let template = Template::qwen3_vl().with_thinking(Thinking { enable: Some(false), preserve: false });
        let error = template.encode_multiturn(&fixtures::tokenizer(), &messages, None, &[1], false).unwrap_err();
        assert!(matches!(error, TemplateError::ImageCount { placeholders: 0, images: 1 }), "{error}");
    }
}
