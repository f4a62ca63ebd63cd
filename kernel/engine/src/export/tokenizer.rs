//! A model folder's tokenizer and chat template, as llama.cpp finds them in a GGUF file.

use std::collections::HashMap;

use serde_json::Value as Json;
use tunebook_gguf::Metadata;
use tunebook_gguf::Value;

use crate::error::Error;
use crate::error::Result;
use crate::model::Model;
use crate::model::read_json;
use crate::own_template::chat_template;

/// The name that llama.cpp has for how these tokenizers split a text before they merge bytes, and the expression that it
/// stands for.
const PRE: &str = "qwen2";
const SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What a token is.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// `tokenizer.*`: the tokens by their ids, what they are, the merges, the special ones, and the chat template.
///
/// # Errors
/// tokenizer.json cannot be read, or splits texts in a way that llama.cpp has no name for.
pub(super) fn metadata(model: &Model) -> Result<Metadata> {
    let path = model.report.path.join("tokenizer.json");
    let json = read_json(path.clone())?;
    let splits = json.pointer("/pre_tokenizer/pretokenizers").and_then(Json::as_array).into_iter().flatten();
    if !splits.filter_map(|split| split.pointer("/pattern/Regex")).eq([SPLIT]) {
        return Err(Error::OtherSplit { path });
    }
    let (tokens, kinds) = tokens(&json, model.net.text.config.vocab_size);
    let special = model.tokenizer.special();
    let mut metadata: Metadata = [
        ("model", "gpt2".into()),
        ("pre", PRE.into()),
        ("tokens", Value::Strings(tokens)),
        ("token_type", Value::I32s(kinds)),
        ("merges", Value::Strings(merges(&json))),
        ("eos_token_id", Value::U32(special.im_end)),
        ("padding_token_id", Value::U32(special.endoftext)),
        ("bos_token_id", Value::U32(special.endoftext)),
        ("add_bos_token", Value::Bool(false)),
        ("add_eos_token", Value::Bool(false)),
    ]
    .into_iter()
    .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
    .collect();
    if let Some(template) = chat_template(&model.report.path)? {
        metadata.push(("tokenizer.chat_template".to_string(), Value::String(template)));
    }
    Ok(metadata)
}

/// As many tokens as the model has rows, with what they are; rows without a token are called `[PAD…]`.
fn tokens(json: &Json, rows: usize) -> (Vec<String>, Vec<i32>) {
    let vocabulary = json.pointer("/model/vocab").and_then(Json::as_object).into_iter().flatten();
    let mut by_id: HashMap<u64, (&str, i32)> =
        vocabulary.filter_map(|(token, id)| Some((id.as_u64()?, (token.as_str(), NORMAL)))).collect();
    for added in json.get("added_tokens").and_then(Json::as_array).into_iter().flatten() {
        if let (Some(id), Some(token)) = (added["id"].as_u64(), added["content"].as_str()) {
            // llama.cpp's converter takes those for special that look so, whatever the file says.
            let looks_special = token.starts_with("<|") && token.ends_with("|>");
            let is_special = added["special"] == true || looks_special;
            by_id.insert(id, (token, if is_special { CONTROL } else { USER_DEFINED }));
        }
    }
    let of_row = |id: u64| match by_id.get(&id) {
        Some((token, kind)) => (token.to_string(), *kind),
        None => (format!("[PAD{id}]"), UNUSED),
    };
    (0..rows as u64).map(of_row).unzip()
}

/// Each as the two tokens that it joins, with a blank between them; older files have them so, newer ones as pairs.
fn merges(json: &Json) -> Vec<String> {
    let merges = json.pointer("/model/merges").and_then(Json::as_array).into_iter().flatten();
    let text = |merge: &Json| match merge {
        Json::Array(pair) => Some(pair.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" ")),
        merge => merge.as_str().map(str::to_string),
    };
    merges.filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_row_has_a_token() {
        let json = json!({
            "model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
            "added_tokens": [
                {"id": 4, "content": "<|im_end|>", "special": true},
                {"id": 5, "content": "<tool_call>", "special": false},
                {"id": 6, "content": "<|fim_pad|>", "special": false}
            ]
        });
        let (tokens, kinds) = tokens(&json, 8);
        assert_eq!(tokens, ["a", "b", "ab", "[PAD3]", "<|im_end|>", "<tool_call>", "<|fim_pad|>", "[PAD7]"]);
        assert_eq!(kinds, [NORMAL, NORMAL, NORMAL, UNUSED, CONTROL, USER_DEFINED, CONTROL, UNUSED]);
        assert_eq!(merges(&json), ["a b"]);
        assert_eq!(merges(&json!({"model": {"merges": ["a b"]}})), ["a b"]);
    }
}
