//! Text from tokens that arrive one by one.

use crate::{Tokenizer, TokenizerError};

/// Decodes a stream of tokens. A character whose bytes are spread over several tokens is held back until it is
/// complete, so the output is always valid UTF-8; bytes that cannot become a character come out as `U+FFFD`. All pieces
/// together are the text of all tokens, except a last character that was never finished.
#[derive(Debug)]
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// The first bytes of a character.
    unfinished: Vec<u8>,
}

impl<'a> DecodeStream<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, skip_special_tokens: bool) -> Self {
        Self { tokenizer, skip_special_tokens, unfinished: Vec::new() }
    }

    /// Takes the next token and returns the text that it completes (often all of it, sometimes none).
    ///
    /// # Errors
    /// A token of a tokenizer that is not byte-level.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.unfinished.extend(self.tokenizer.bytes(id, self.skip_special_tokens)?);
        let bytes = std::mem::take(&mut self.unfinished);
        let mut text = String::new();
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            if chunks.peek().is_none() && may_go_on(chunk.invalid()) {
                self.unfinished = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        Ok(text)
    }
}

/// Whether `bytes`, which are no character, could still become one.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use crate::fixtures;
    use crate::random::below;

    fn stream(ids: &[u32], skip_special_tokens: bool) -> Vec<String> {
        let tokenizer = fixtures::tokenizer();
        let mut stream = tokenizer.decode_stream(skip_special_tokens);
        ids.iter().map(|id| stream.push(*id).unwrap()).collect()
    }

    #[test]
    fn split_characters_come_out_whole() {
        let text = "<|im_start|>它有红色的身体、尖尖的耳朵🦊。\nIt isn't a naïve café…";
        let ids = fixtures::tokenizer().encode(text).unwrap();
        let pieces = stream(&ids, false);
        assert!(pieces.iter().any(String::is_empty), "no character was split: the test shows nothing");
        assert!(pieces.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER)), "{pieces:?}");
        assert_eq!(pieces.concat(), text);
        assert_eq!(stream(&ids, true).concat(), text.replace("<|im_start|>", ""));
    }

    #[test]
    fn an_unfinished_character_is_left_out_at_the_end() {
        let ids = fixtures::tokenizer().encode("a🦊").unwrap();
        assert_eq!(stream(&ids, false).concat(), "a🦊");
        assert_eq!(stream(&ids[..ids.len() - 1], false).concat(), "a");
    }

    /// Also for nonsense, as a model that has learned nothing writes it.
    #[test]
    fn a_stream_is_the_whole_decoded() {
        let tokenizer = fixtures::tokenizer();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for round in 0..200 {
            // 30 ids more than there are tokens.
            let ids: Vec<_> = (0..20).map(|_| below(&mut rng, tokenizer.vocab_size() + 30) as u32).collect();
            let whole = tokenizer.decode(&ids, round % 2 == 0).unwrap();
            let pieces = stream(&ids, round % 2 == 0).concat();
            let unfinished = whole.strip_prefix(&pieces);
            assert!(matches!(unfinished, Some("" | "\u{fffd}")), "{pieces:?} of {whole:?}");
        }
    }
}
