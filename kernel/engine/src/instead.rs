//! Files that hold something else than their names say, as downloads do that went wrong.

use std::path::Path;

use tunebook_data::DatasetError;
use tunebook_data::ImageError;
use tunebook_data::OtherFile;
use tunebook_data::TokenizerError;
use tunebook_nn::adapter::AdapterError;
use tunebook_quote::REMEDY;

use crate::error::Error;

/// What a file holds instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Instead {
    #[error("is a Git LFS pointer, not the file itself{REMEDY}run `git lfs pull` in its folder to fetch the file")]
    LfsPointer,
    #[error(
        "is a web page saved in place of the file{REMEDY}download it again, from a hub with the link that contains `resolve` \
         instead of `blob`"
    )]
    WebPage,
    #[error(
        "is a ZIP archive, like the files of Excel and PyTorch{REMEDY}unpack it, or save it in the right format: a table as \
         CSV in UTF-8"
    )]
    Zip,
    #[error("is a {0} archive{REMEDY}unpack it and use the file inside")]
    Archive(&'static str),
}

/// `error`, or what is wrong with its file, if that holds something else.
pub fn explained(error: Error) -> Error {
    match unreadable(&error).and_then(|path| Some((path.to_path_buf(), instead(path)?))) {
        Some((path, what)) => Error::Instead { path, what },
        None => error,
    }
}

/// What a file holds instead of what it should.
fn instead(path: &Path) -> Option<Instead> {
    match OtherFile::of(path)? {
        OtherFile::LfsPointer => Some(Instead::LfsPointer),
        OtherFile::Document("HTML") => Some(Instead::WebPage),
        OtherFile::Archive("ZIP") => Some(Instead::Zip),
        OtherFile::Archive(name) => Some(Instead::Archive(name)),
        _ => None,
    }
}

/// The file whose content an error is about.
fn unreadable(error: &Error) -> Option<&Path> {
    Some(match error {
        Error::Model(
            tunebook_nn::Error::Json { path, .. }
            | tunebook_nn::Error::Safetensors { path, .. }
            | tunebook_nn::Error::Damaged { path, .. }
            | tunebook_nn::Error::Adapter(AdapterError::Safetensors { path, .. }),
        )
        | Error::Dataset(
            DatasetError::Json { path, .. }
            | DatasetError::NotUtf8 { path, .. }
            | DatasetError::Csv { path, .. }
            | DatasetError::Parquet { path, .. },
        )
        | Error::Image(ImageError::Json { path, .. })
        | Error::Tokenizer(TokenizerError::Read { path, .. })
        | Error::Json { path, .. } => path,
        Error::NoSamples { skipped, .. } => &skipped.first()?.origin.file,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_instead_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let explained = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            explained(Error::Model(tunebook_nn::Error::Safetensors { path, problem: "too short".to_string() }))
                .to_string()
        };
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n";
        assert!(explained("model.safetensors", pointer).contains("model.safetensors is a Git LFS pointer"));
        assert!(explained("config.json", b"<!doctype html>\n<html>404").contains("`resolve`"));
        assert!(explained("data.json", b"\x1f\x8b\x08\0").contains("is a gzip archive"));
        assert!(explained("data.csv", b"PK\x03\x04\x14\0").contains("Excel"));
        assert!(explained("cut.safetensors", &[8, 0, 0, 0]).contains("too short"));
    }
}
