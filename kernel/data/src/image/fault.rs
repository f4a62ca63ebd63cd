//! What can be wrong with a picture file.

use std::io;
use std::path::{Path, PathBuf};

use tunebook_files::NotAFile;
use tunebook_quote::REMEDY;

use super::{Grid, OtherFile};

/// A picture file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image {}: {fault}", path.display())]
pub struct PictureError {
    pub path: PathBuf,
    pub fault: PictureFault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureFault {
    #[error("cannot be read: {message}")]
    Unreadable { kind: io::ErrorKind, message: String },
    #[error("cannot be read: {0}")]
    NotAFile(NotAFile),
    #[error(transparent)]
    NotAPicture(OtherFile),
    #[error("the file is truncated{REMEDY}copy or download it again")]
    CutOff,
    #[error("it has no pixels")]
    NoPixels,
    #[error("{width}×{height} pixels are too many to decode{REMEDY}shrink the image")]
    TooLarge { width: u32, height: u32 },
    #[error("it would be enlarged to {width}×{height} pixels, which are too many{REMEDY}lower image_min_pixels")]
    EnlargedTooMuch { width: u32, height: u32 },
    #[error("it cannot be decoded: {message}{REMEDY}if another program can open it, save it there as PNG or JPEG")]
    Undecodable { message: String },
    #[error(
        "it has changed since the data was encoded: it had {}×{} patches, now {}×{}{REMEDY}select the data again",
        before.h, before.w, now.h, now.w
    )]
    Changed { before: Grid, now: Grid },
}

impl PictureFault {
    pub(super) fn of(self, path: &Path) -> PictureError {
        PictureError { path: path.to_owned(), fault: self }
    }
}

impl From<io::Error> for PictureFault {
    fn from(error: io::Error) -> Self {
        match NotAFile::of(&error) {
            Some(found) => Self::NotAFile(found),
            None => Self::Unreadable { kind: error.kind(), message: error.to_string() },
        }
    }
}

impl From<image::ImageError> for PictureFault {
    fn from(error: image::ImageError) -> Self {
        match error {
            image::ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::CutOff,
            error => Self::Undecodable { message: error.to_string().trim_end_matches('.').to_owned() },
        }
    }
}

impl From<OtherFile> for PictureFault {
    fn from(file: OtherFile) -> Self {
        Self::NotAPicture(file)
    }
}
