//! A picture and what there is to ask about it.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;
use tunebook_data::creatures::Words;
use tunebook_data::random::{below, shuffle, unit};

/// The language of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    pub fn any(rng: &mut ChaCha8Rng) -> Self {
        if below(rng, 2) == 0 { Self::English } else { Self::Chinese }
    }

    pub fn pick<T>(self, english: T, chinese: T) -> T {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }

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

pub struct Turn {
    pub topic: Topic,
    pub question: String,
    pub answer: String,
}

pub fn turn(topic: Topic, question: impl Into<String>, answer: impl Into<String>) -> Turn {
    Turn { topic, question: question.into(), answer: answer.into() }
}

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
}

/// A number from `from` to `to`.
pub fn between(rng: &mut ChaCha8Rng, from: f32, to: f32) -> f32 {
    from + (to - from) * unit(rng) as f32
}

pub fn any<T: Copy>(of: &[T], rng: &mut ChaCha8Rng) -> T {
    of[below(rng, of.len())]
}

/// The first letter as a capital, and a full stop behind it.
pub fn sentence(language: Language, text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}{}", letters.as_str(), language.pick(".", "。"))
}
