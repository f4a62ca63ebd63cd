//! Boxes of samples and answers.

use std::path::PathBuf;

use serde::Serialize;
use tunebook_data::BoxScale;

use crate::serialize;

/// The boxes of samples, as they were written.
#[derive(Clone, Debug, Serialize)]
pub struct BoxReport {
    pub boxes: usize,
    /// Samples that have some.
    pub samples: usize,
    /// In which scale they are taken to be written.
    pub written: BoxScale,
    /// In which the model reads them.
    pub read: BoxScale,
    /// Boxes that are outside of their pictures in the scale `written`, and the first sample with one.
    pub outside: usize,
    pub first_outside: Option<String>,
    /// Boxes whose second corner is not right of and below the first.
    pub reversed: usize,
    pub first_reversed: Option<String>,
    /// The scales in which all boxes would be within their pictures.
    pub fitting: Vec<BoxScale>,
}

/// A box on a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrawnBox {
    pub label: Option<String>,
    /// x1, y1, x2, y2 in pixels of the picture's file, turned upright.
    pub corners: [i64; 4],
}

/// A picture with boxes on it.
#[derive(Clone, Debug, Serialize)]
pub struct DrawnPicture {
    #[serde(serialize_with = "serialize::path")]
    pub path: PathBuf,
    /// Pixels of the file, turned upright.
    pub width: u32,
    pub height: u32,
    /// Those of an answer.
    pub boxes: Vec<DrawnBox>,
    /// Those of the label.
    pub expected: Vec<DrawnBox>,
}
