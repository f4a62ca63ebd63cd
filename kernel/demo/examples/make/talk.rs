//! Conversations without a picture: a few pleasantries, and words to say after.
//!
//! The words are drawn by chance out of everything that the tokenizer knows, those of the creatures' names and types
//! among them, so that the model can spell them. It never hears them of a picture.

use rand_chacha::ChaCha8Rng;
use tunebook_data::creatures::{Body, Colour, Ears, Tail, Words};
use tunebook_data::random::below;
use tunebook_demo::scene::{Language, Scene, Topic, any, turn};
use tunebook_demo::shape::Shape;

const PLEASANTRIES: [(&str, &str); 12] = [
    ("Hello!", "Hello! Show me a picture, and I tell you what I see."),
    ("Hi!", "Hello! Show me a picture, and I tell you what I see."),
    ("Who are you?", "I am a very small model that looks at pictures."),
    ("What can you do?", "I can tell you colours, shapes, numbers and places."),
    ("How are you?", "I am fine, thank you!"),
    ("Thank you!", "You are welcome."),
    ("你好！", "你好！给我看一张图片，我来告诉你图中有什么。"),
    ("您好！", "你好！给我看一张图片，我来告诉你图中有什么。"),
    ("你是谁？", "我是一个很小的模型，会看图片。"),
    ("你会做什么？", "我会说出颜色、形状、数量和位置。"),
    ("你好吗？", "我很好，谢谢！"),
    ("谢谢！", "不客气。"),
];

/// Parts of names, words of types and of tempers, and everything that shapes and parts are called.
pub(crate) fn words() -> Vec<Words> {
    let colours = Colour::ALL.into_iter().flat_map(|colour| [colour.words(), colour.element(), colour.syllable()]);
    let ears = Ears::ALL.into_iter().flat_map(|ears| [ears.words(), ears.syllable()]);
    let bodies = Body::ALL.into_iter().map(Body::syllable);
    let tails = Tail::ALL.into_iter().flat_map(|tail| [tail.words(), tail.temper()]);
    let shapes = Shape::ALL.into_iter().map(Shape::words);
    colours.chain(ears).chain(bodies).chain(tails).chain(shapes).chain(OTHERS).collect()
}

/// Of the creatures' sentences.
const OTHERS: [Words; 12] = [
    Words { en: "type", zh: "系" },
    Words { en: "temper", zh: "性格" },
    Words { en: "because", zh: "因为" },
    Words { en: "so", zh: "所以" },
    Words { en: "called", zh: "叫" },
    Words { en: "creature", zh: "小精灵" },
    Words { en: "of the", zh: "一只" },
    Words { en: "name", zh: "名字" },
    Words { en: "how", zh: "怎么" },
    Words { en: "tell", zh: "知道" },
    Words { en: "can", zh: "属性" },
    Words { en: "and", zh: "长着" },
];

pub(crate) fn pleasantry(rng: &mut ChaCha8Rng) -> Scene {
    let (question, answer) = any(&PLEASANTRIES, rng);
    Scene { picture: None, turns: vec![turn(Topic::Talk, question, answer)] }
}

/// Words to be said after, run together in pieces or apart.
pub(crate) fn echo(words: &[Words], rng: &mut ChaCha8Rng) -> Scene {
    let turns = (0..3)
        .map(|_| {
            let language = Language::any(rng);
            let count = 2 + below(rng, 4);
            let mut text = String::new();
            for index in 0..count {
                let word = language.word(any(words, rng));
                let apart = language == Language::English && index > 0 && below(rng, 3) > 0;
                text += if apart { " " } else { "" };
                text += word;
            }
            turn(Topic::Talk, language.pick(format!("Say: {text}"), format!("请说：{text}")), text)
        })
        .collect();
    Scene { picture: None, turns }
}
