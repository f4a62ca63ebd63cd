//! What tests share: the fixtures that tests/reference writes.

use std::path::PathBuf;

use crate::Tokenizer;

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

pub(crate) fn json(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(path(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::from_folder(&path("tiny")).unwrap()
}
