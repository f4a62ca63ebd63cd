//! A picture and what there is to ask about it.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tunebook_data::IMAGE_PLACEHOLDER;
use tunebook_data::creatures::Words;
use tunebook_data::random::{below, shuffle, unit};

/// The language of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    /// One of them, by chance.
    pub fn any(rng: &mut ChaCha8Rng) -> Self {
        if below(rng, 2) == 0 { Self::English } else { Self::Chinese }
    }

    /// What is in this language.
    pub fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }

    /// The word in this language.
    pub fn word(self, words: Words) -> &'static str {
        self.pick(words.en, words.zh)
    }
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Colour,
    Shape,
    Count,
    Size,
    Place,
    Parts,
    Caption,
    Talk,
}

impl Topic {
    /// Those that a held-out set is made for, with its name.
    pub const HELD_OUT: [(Self, &'static str); 6] = [
        (Self::Colour, "colour"),
        (Self::Shape, "shape"),
        (Self::Count, "count"),
        (Self::Place, "place"),
        (Self::Parts, "parts"),
        (Self::Caption, "caption"),
    ];
}

/// A question and its answer.
pub struct Turn {
    pub topic: Topic,
    pub question: String,
    pub answer: String,
}

/// A [`Turn`].
pub fn turn(topic: Topic, question: impl Into<String>, answer: impl Into<String>) -> Turn {
    Turn { topic, question: question.into(), answer: answer.into() }
}

/// A picture, if there is one, and a conversation about it.
pub struct Scene {
    pub picture: Option<RgbImage>,
    /// Every question that there is.
    pub turns: Vec<Turn>,
}

impl Scene {
    /// At most `most` of its questions, in any order.
    pub fn conversation(mut self, most: usize, rng: &mut ChaCha8Rng) -> Self {
        shuffle(&mut self.turns, rng);
        self.turns.truncate(most);
        self
    }

    /// The record of LLaMA-Factory's sharegpt form, for a picture in the file `image`, as the data set names it.
    pub fn record(&self, image: &str) -> Value {
        let images: Vec<_> = self.picture.iter().map(|_| image).collect();
        let mut messages = Vec::new();
        for (index, turn) in self.turns.iter().enumerate() {
            let placeholder = if index == 0 && !images.is_empty() { IMAGE_PLACEHOLDER } else { "" };
            messages.push(json!({"from": "human", "value": format!("{placeholder}{}", turn.question)}));
            messages.push(json!({"from": "gpt", "value": turn.answer}));
        }
        json!({"messages": messages, "images": images})
    }
}

/// A number from `from` to `to`.
pub fn between(rng: &mut ChaCha8Rng, from: f32, to: f32) -> f32 {
    from + (to - from) * unit(rng) as f32
}

/// One of these.
pub fn any<T: Copy>(of: &[T], rng: &mut ChaCha8Rng) -> T {
    of[below(rng, of.len())]
}

/// The first letter as a capital, and a full stop behind it.
pub fn sentence(language: Language, text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}{}", letters.as_str(), language.pick(".", "。"))
}
