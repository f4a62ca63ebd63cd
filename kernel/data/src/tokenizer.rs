//! The tokenizer of a model folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokenizers::AddedToken;

use crate::DecodeStream;

/// The tokenizer of a checkpoint (`tokenizer.json`), with the ids of the tokens that the template and the model
/// need, found by their text.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    added: HashMap<u32, AddedToken>,
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
    #[error("{} is missing: every model folder needs this tokenizer file", path.display())]
    Missing { path: PathBuf },
    #[error("cannot read the tokenizer {}: {source}", path.display())]
    Read { path: PathBuf, source: tokenizers::Error },
    #[error("{} has no token `{token}`: this is not the tokenizer of a Qwen-VL model", path.display())]
    MissingToken { path: PathBuf, token: &'static str },
    #[error("cannot tokenize: {0}")]
    Encode(tokenizers::Error),
    #[error("cannot decode tokens: {0}")]
    Decode(tokenizers::Error),
    #[error("the token `{token}` is not byte-level: this is not the tokenizer of a Qwen-VL model")]
    NotByteLevel { token: String },
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
        let added = inner.get_added_tokens_decoder().into_iter().collect();
        Ok(Self { inner, special, added })
    }

    pub fn special(&self) -> SpecialTokens {
        self.special
    }

    /// Number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Token ids of `text`, with nothing added around them; the text of a special token becomes that token.
    ///
    /// # Errors
    /// Those of the `tokenizers` crate.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(TokenizerError::Encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of `ids`; bytes that are not UTF-8 become `U+FFFD`. Unknown ids are dropped.
    ///
    /// # Errors
    /// Those of the `tokenizers` crate.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        self.inner.decode(ids, skip_special_tokens).map_err(TokenizerError::Decode)
    }

    /// Decodes tokens as they are generated.
    pub fn decode_stream(&self, skip_special_tokens: bool) -> DecodeStream<'_> {
        DecodeStream::new(self, skip_special_tokens)
    }

    /// A token's text by itself. Bytes that are no whole character are written as `<0xE4>`, and an id without a token as
    /// `<151700>`.
    ///
    /// # Errors
    /// A token of a tokenizer that is not byte-level.
    pub fn token_text(&self, id: u32) -> Result<String, TokenizerError> {
        let bytes = self.bytes(id, false)?;
        if bytes.is_empty() {
            return Ok(format!("<{id}>"));
        }
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            chunk.invalid().iter().for_each(|byte| text.push_str(&format!("<0x{byte:02X}>")));
        }
        Ok(text)
    }

    /// A token's bytes by itself; none for an id without a token.
    ///
    /// # Errors
    /// A token of a tokenizer that is not byte-level.
    pub fn token_bytes(&self, id: u32) -> Result<Vec<u8>, TokenizerError> {
        self.bytes(id, false)
    }

    /// The bytes of a token; none for an id without one, as models have more ids than their tokenizer.
    pub(crate) fn bytes(&self, id: u32, skip_special_tokens: bool) -> Result<Vec<u8>, TokenizerError> {
        if let Some(token) = self.added.get(&id) {
            let skip = skip_special_tokens && token.special;
            return Ok(if skip { Vec::new() } else { token.content.clone().into_bytes() });
        }
        let token = self.inner.id_to_token(id).unwrap_or_default();
        let bytes = token.chars().map(byte_of).collect::<Option<_>>();
        bytes.ok_or(TokenizerError::NotByteLevel { token })
    }
}

/// The byte that a character of a byte-level token stands for (GPT-2's table): printable Latin-1 characters for
/// themselves, the characters from U+0100 on for the other bytes in their order.
fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
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
    fn a_token_by_itself_shows_bytes_that_are_no_character() {
        let tokenizer = fixtures::tokenizer();
        let ids = tokenizer.encode("<|im_start|>a 🦊").unwrap();
        let texts: Vec<_> = ids.iter().map(|&id| tokenizer.token_text(id).unwrap()).collect();
        assert_eq!(texts[0], "<|im_start|>");
        assert!(texts.iter().any(|text| text.contains("<0xF0>")), "no character was split: {texts:?}");
        assert_eq!(tokenizer.token_text(999_999).unwrap(), "<999999>");
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
