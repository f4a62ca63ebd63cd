//! The tokenizer: byte-level BPE as Qwen's, trained on what the scenes say, with Qwen's special tokens.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, Result, SplitDelimiterBehavior, Tokenizer};
use tunebook_data::creatures::{Body, Colour, Ears};
use tunebook_demo::shapes;

use crate::{creature, talk};

/// Tokens at most, without the special ones.
const VOCABULARY: usize = 1900;

/// How Qwen2.5 cuts text before it looks for pairs.
const PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const SPECIAL: [&str; 14] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
];

/// Tokens that Qwen adds as text of its own.
const ADDED: [&str; 8] = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

/// Trains it. The names of creatures are no tokens, the parts of names are.
pub(crate) fn train() -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::new(BPE::default());
    let split = Split::new(SplitPattern::Regex(PATTERN.to_string()), SplitDelimiterBehavior::Isolated, false)?;
    let bytes = ByteLevel::new(false, false, false);
    tokenizer
        .with_normalizer(Some(NFC))?
        .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
        .with_post_processor(Some(bytes))
        .with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        // Words, not sentences: what is said of scenes repeats.
        .max_token_length(Some(12))
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build();
    tokenizer.train(&mut tokenizers::models::TrainerWrapper::from(trainer), corpus().into_iter())?;
    tokenizer.add_special_tokens(SPECIAL.map(|token| AddedToken::from(token, true).normalized(false)))?;
    tokenizer.add_tokens(ADDED.map(|token| AddedToken::from(token, false).normalized(false)))?;
    Ok(tokenizer)
}

fn corpus() -> Vec<String> {
    const SCENES: usize = 1500;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut texts = Vec::new();
    for index in 0..SCENES {
        let scene = match index % 5 {
            0 => shapes::one(&mut rng),
            1 => shapes::several(&mut rng),
            2 => shapes::pair(&mut rng),
            3 => creature::creature(&mut rng),
            _ => talk::pleasantry(&mut rng),
        };
        texts.extend(scene.turns.into_iter().flat_map(|turn| [turn.question, turn.answer]));
    }
    // Every word by itself, as it stands in a sentence, and inside of one.
    let inside = talk::words().into_iter().flat_map(|words| [words.en, words.zh]).map(str::to_string);
    let words = inside.flat_map(|word| [format!(" {word}"), word]);
    let words: Vec<_> = words.chain(SENTENCES.map(str::to_string)).collect();
    for _ in 0..100 {
        texts.extend_from_slice(&words);
    }
    // Parts of names come first of all, so that no other pair takes their letters.
    let first = Colour::ALL.map(Colour::syllable).map(|words| format!(" {}", words.en));
    let colours = Colour::ALL.map(Colour::syllable).into_iter();
    let parts = colours.chain(Ears::ALL.map(Ears::syllable)).chain(Body::ALL.map(Body::syllable));
    let parts: Vec<_> =
        first.into_iter().chain(parts.flat_map(|words| [words.en, words.zh].map(str::to_string))).collect();
    for _ in 0..5000 {
        texts.extend_from_slice(&parts);
    }
    texts
}

/// Of things in general, so that letters and common words are there.
const SENTENCES: [&str; 22] = [
    "system\nYou are a helpful assistant.",
    "user\n",
    "assistant\n",
    "Say: ",
    "请说：",
    "Which of the two is on the other side, and how do you know?",
    "She went down to the river because the evening was warm and quiet.",
    "What would you like to have for breakfast, bread and cheese or some fruit?",
    "My brother keeps three goats, one dog and very many bees.",
    "Numbers are written with digits: 0 1 2 3 4 5 6 7 8 9.",
    "If it rains tomorrow, we will stay at home and play a game.",
    "Every question has an answer, but some take longer to find.",
    "It was the first time that they saw snow, just before the new year.",
    "Their house stands next to the old bridge; the door is never closed.",
    "Please give me back the book when you no longer need it.",
    "哪一个在另一边？你是怎么知道的？",
    "今天晚上很暖和，我们到河边走一走吧。",
    "你早上想吃什么？面包还是水果？",
    "如果明天下雨，我们就在家里玩游戏。",
    "每个问题都有答案，有的要多想一会儿。",
    "他们第一次看见雪，是在新年以前。",
    "这本书你看完了，请还给我。",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tunebook_data::creatures::{Kind, Tail};

    use super::*;

    #[test]
    fn names_are_spelt_from_pieces_that_they_share() {
        let tokenizer = train().unwrap();
        let mut pieces = BTreeSet::new();
        for kind in (0..Kind::COUNT).map(|index| Kind::nth(index, Tail::Curly)) {
            for (text, before) in
                [(format!("This is {}.", kind.name_en()), 2), (format!("它叫{}。", kind.name_zh()), 2)]
            {
                let tokens = tokenizer.encode(text.as_str(), false).unwrap().get_tokens().to_vec();
                let name: Vec<_> = tokens[before..tokens.len() - 1].to_vec();
                assert!((3..=4).contains(&name.len()), "{text}: {tokens:?}");
                pieces.extend(name);
            }
        }
        assert!(pieces.len() < Kind::COUNT / 2, "{pieces:?}");
    }
}
