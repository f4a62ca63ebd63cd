//! The tokenizer of a model folder, and text out of a stream of tokens.

use std::path::{Path, PathBuf};

/// The tokenizer of a checkpoint (`tokenizer.json`), with the ids of the tokens that the template and the model
/// need, found by their text.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
}

/// Ids of the tokens with a meaning of their own; the field's name is the token's text between `<|` and `|>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialTokens {
    pub endoftext: u32,
    pub im_start: u32,
    pub im_end: u32,
    pub vision_start: u32,
    pub vision_end: u32,
    pub image_pad: u32,
    pub video_pad: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("{} is missing: a model folder holds its tokenizer there", path.display())]
    Missing { path: PathBuf },
    #[error("cannot read the tokenizer {}: {source}", path.display())]
    Read { path: PathBuf, source: tokenizers::Error },
    #[error("{} has no token `{token}`: this is not the tokenizer of a Qwen2.5-VL model", path.display())]
    MissingToken { path: PathBuf, token: &'static str },
    #[error("cannot tokenize: {0}")]
    Encode(tokenizers::Error),
    #[error("cannot turn tokens into text: {0}")]
    Decode(tokenizers::Error),
}

impl Tokenizer {
    /// Reads `<model folder>/tokenizer.json`.
    ///
    /// # Errors
    /// The file is missing, is no tokenizer, or lacks one of [`SpecialTokens`].
    pub fn from_folder(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Err(TokenizerError::Missing { path });
        }
        let read_error = |source| TokenizerError::Read { path: path.clone(), source };
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(read_error)?;
        // Cutting and padding are this crate's business, whatever the file has switched on.
        inner.with_truncation(None).map_err(read_error)?;
        inner.with_padding(None);

        let id = |token: &'static str| {
            inner.token_to_id(token).ok_or_else(|| TokenizerError::MissingToken { path: path.clone(), token })
        };
        let special = SpecialTokens {
            endoftext: id("<|endoftext|>")?,
            im_start: id("<|im_start|>")?,
            im_end: id("<|im_end|>")?,
            vision_start: id("<|vision_start|>")?,
            vision_end: id("<|vision_end|>")?,
            image_pad: id("<|image_pad|>")?,
            video_pad: id("<|video_pad|>")?,
        };
        Ok(Self { inner, special })
    }

    pub fn special(&self) -> SpecialTokens {
        self.special
    }

    /// How many ids there are, the added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Ids of `text`. Nothing is added around it; the text of a special token becomes that token.
    ///
    /// # Errors
    /// Those of the `tokenizers` crate.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(TokenizerError::Encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of `ids`; bytes that are no UTF-8 become `U+FFFD`. Unknown ids are left out.
    ///
    /// # Errors
    /// Those of the `tokenizers` crate.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        self.inner.decode(ids, skip_special_tokens).map_err(TokenizerError::Decode)
    }

    /// Decodes tokens as they are generated.
    pub fn decode_stream(&self, skip_special_tokens: bool) -> DecodeStream<'_> {
        DecodeStream { tokenizer: self, skip_special_tokens, held: Vec::new() }
    }
}

/// Text out of tokens that arrive one by one. A character whose bytes are spread over several tokens is held
/// back until it is whole, so what comes out is never broken UTF-8; all pieces together are the text of all tokens.
#[derive(Debug)]
pub struct DecodeStream<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// Tokens whose text has not come out yet.
    held: Vec<u32>,
}

impl DecodeStream<'_> {
    /// Takes the next token, gives the text that has become whole by it (often all of it, sometimes none).
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.held.push(id);
        let text = self.tokenizer.decode(&self.held, self.skip_special_tokens)?;
        // A byte-level token's text does not depend on its neighbours but for split characters, so it is
        // enough to decode from the last clean cut.
        if text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.held.clear();
        Ok(text)
    }

    /// What is still held at the end, without an unfinished character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String, TokenizerError> {
        let text = self.tokenizer.decode(&self.held, self.skip_special_tokens)?;
        Ok(text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    const TEXT: &str = "<|im_start|>它有红色的身体、尖尖的耳朵🦊。\nIt isn't a naïve café…";

    #[test]
    fn special_tokens_are_found_by_their_text() {
        let tokenizer = fixtures::tokenizer();
        let special = tokenizer.special();
        assert_eq!(tokenizer.encode("<|im_end|>").unwrap(), [special.im_end]);
        let ids = tokenizer.encode("<|vision_start|><|image_pad|><|vision_end|>").unwrap();
        assert_eq!(ids, [special.vision_start, special.image_pad, special.vision_end]);
    }

    #[test]
    fn text_comes_back() {
        let tokenizer = fixtures::tokenizer();
        let ids = tokenizer.encode(TEXT).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), TEXT);
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), TEXT.replace("<|im_start|>", ""));
    }

    #[test]
    fn a_stream_is_the_whole_text_and_never_broken() {
        let tokenizer = fixtures::tokenizer();
        let ids = tokenizer.encode(TEXT).unwrap();
        let mut stream = tokenizer.decode_stream(false);
        let mut pieces = Vec::new();
        for id in &ids {
            let piece = stream.push(*id).unwrap();
            assert!(!piece.contains(char::REPLACEMENT_CHARACTER), "{piece:?}");
            pieces.push(piece);
        }
        assert!(pieces.iter().any(String::is_empty), "no character was split: the test shows nothing");
        pieces.push(stream.finish().unwrap());
        assert_eq!(pieces.concat(), TEXT);
    }

    #[test]
    fn an_unfinished_character_is_left_out_at_the_end() {
        let tokenizer = fixtures::tokenizer();
        let ids = tokenizer.encode("🦊").unwrap();
        let mut stream = tokenizer.decode_stream(false);
        let (_, first) = ids.split_last().unwrap();
        assert!(!first.is_empty());
        for id in first {
            assert_eq!(stream.push(*id).unwrap(), "");
        }
        assert_eq!(stream.finish().unwrap(), "");
    }

    #[test]
    fn a_folder_without_a_usable_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        let error = Tokenizer::from_folder(dir.path()).unwrap_err();
        assert!(error.to_string().contains("tokenizer.json is missing"), "{error}");
        std::fs::write(dir.path().join("tokenizer.json"), "{").unwrap();
        let error = Tokenizer::from_folder(dir.path()).unwrap_err();
        assert!(error.to_string().contains("cannot read the tokenizer"), "{error}");
        let text = std::fs::read_to_string(fixtures::path("tiny/tokenizer.json")).unwrap();
        let text = text.replace("<|vision_start|>", "<|vision_begin|>");
        std::fs::write(dir.path().join("tokenizer.json"), text).unwrap();
        let error = Tokenizer::from_folder(dir.path()).unwrap_err();
        assert!(error.to_string().contains("no token `<|vision_start|>`"), "{error}");
    }
}
