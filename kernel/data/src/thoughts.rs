//! Thoughts in answers, by the rules of LLaMA-Factory's `ReasoningTemplate`.
//!
//! A thought stands between `<think>` and `</think>`. A model that thinks has one in front of every answer, so that an
//! answer without one is given an empty one; and it is not shown the thoughts of its earlier answers.

use crate::Message;

/// What a thought begins and ends with.
pub(crate) const THOUGHT: [&str; 2] = ["<think>\n", "\n</think>\n\n"];
/// A thought of nothing, as LLaMA-Factory puts it in front of an answer.
pub(crate) const NO_THOUGHT: &str = "<think>\n\n</think>\n\n";

/// LLaMA-Factory's settings for the template of a model that thinks, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinking {
    /// `enable_thinking`. True: thoughts are learned, and an empty one where an answer has none. False: all thoughts are
    /// removed, and the empty one is part of the prompt. None: thoughts are learned, and the empty one is part of the
    /// prompt.
    pub enable: Option<bool>,
    /// `preserve_thinking`: the thoughts of earlier answers are shown.
    pub preserve: bool,
}

impl Default for Thinking {
    fn default() -> Self {
        Self { enable: Some(true), preserve: false }
    }
}

impl Thinking {
    /// Whether the model is to learn the empty thought.
    pub(crate) fn learns_no_thought(self) -> bool {
        self.enable == Some(true)
    }
}

/// The messages without the thoughts of those answers that `forgets` is true of; it is given their index.
pub(crate) fn forget(messages: &[Message], forgets: impl Fn(usize) -> bool) -> Vec<Message> {
    let forget = |(index, message): (usize, &Message)| match message.role.is_answer() && forgets(index) {
        true => Message::new(message.role, without_thoughts(&message.content)),
        false => message.clone(),
    };
    messages.iter().enumerate().map(forget).collect()
}

/// Whether an answer has a thought, or a part of one.
pub(crate) fn has_thought(answer: &str) -> bool {
    THOUGHT.iter().any(|mark| answer.contains(mark.trim()))
}

/// An answer without its thoughts, and without line feeds in front.
fn without_thoughts(answer: &str) -> String {
    let [open, close] = THOUGHT;
    let (mut kept, mut rest) = (String::with_capacity(answer.len()), answer);
    while let Some((before, thought)) = rest.split_once(open)
        && let Some((_, after)) = thought.split_once(close)
    {
        kept.push_str(before);
        rest = after;
    }
    (kept + rest).trim_start_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LLaMA-Factory's `remove_thought`.
    #[test]
    fn thoughts_are_removed_as_llamafactory_removes_them() {
        for (answer, expected) in [
            ("\n\nNo thought.\n", "No thought.\n"),
            ("<think>\nRed.\n</think>\n\nA fox.", "A fox."),
            ("<think>\nRed.\n</think>\n\n\nA fox.", "A fox."),
            ("A <think>\nRed.\n</think>\n\n<think>\nBig.\n</think>\n\nfox.", "A fox."),
            ("<think>\n\n</think>\n\nA fox.", "A fox."),
            // Neither is a thought to it.
            ("<think>Red.</think>A fox.", "<think>Red.</think>A fox."),
            ("<think>\n</think>\n\nA fox.", "<think>\n</think>\n\nA fox."),
            ("<think>\nRed, and", "<think>\nRed, and"),
        ] {
            assert_eq!(without_thoughts(answer), expected, "{answer:?}");
        }
        assert_eq!(NO_THOUGHT, THOUGHT.concat());
    }
}
