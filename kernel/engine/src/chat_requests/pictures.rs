//! Pictures that come with requests, as bytes.

use std::collections::VecDeque;
use std::io::Write;

use candle_core::Tensor;
use sha2::Digest;
use sha2::Sha256;
use tunebook_data::Grid;
use tunebook_data::ImageError;
use tunebook_data::ImageProcessor;
use tunebook_data::PictureError;
use tunebook_data::Pixels;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::ForwardContext;

use crate::error::Error;
use crate::error::Result;
use crate::model::Model;
use crate::pictures::thw;

/// The features of the pictures that came last: a conversation brings its pictures along with every question.
#[derive(Default)]
pub(super) struct Pictures {
    /// The one that was asked for last at the end.
    known: VecDeque<(Key, Seen)>,
}

/// The model's view of a picture.
#[derive(Clone)]
pub(super) struct Seen {
    pub grid: Grid,
    pub features: Tensor,
}

/// The contents of the file, and the limits within which it was resized.
type Key = ([u8; 32], [usize; 2]);

/// The most bytes of features that are kept.
const MOST: usize = 256 << 20;

impl Pictures {
    /// The picture at place `index` of its request. What an adapter that changes pictures sees is not kept.
    ///
    /// # Errors
    /// The bytes are no picture that can be decoded, whose name in the error is its number from 1 on; a stop.
    pub(super) fn get(
        &mut self,
        (index, bytes): (usize, &[u8]),
        (model, adapter, processor): (&Model, Option<&Adapter>, &ImageProcessor),
        stop: &dyn Fn() -> bool,
    ) -> Result<Seen> {
        let key: Key = (Sha256::digest(bytes).into(), [processor.image_max_pixels, processor.image_min_pixels]);
        let adapter = adapter.filter(|adapter| adapter.changes_pictures());
        let place = self.known.iter().position(|(known, _)| *known == key);
        if let Some((key, seen)) = place.filter(|_| adapter.is_none()).and_then(|place| self.known.remove(place)) {
            self.known.push_back((key, seen.clone()));
            return Ok(seen);
        }
        let Pixels { grid, patches } = read(bytes, processor).map_err(|error| numbered(error, index + 1))?;
        let ctx = ForwardContext { adapter, stop: Some(stop), ..ForwardContext::default() };
        let seen = Seen { grid, features: model.net.vision.forward(patches, &[thw(grid)], ctx)? };
        if adapter.is_none() {
            self.known.push_back((key, seen.clone()));
            let bytes = |known: &VecDeque<(Key, Seen)>| -> usize {
                known.iter().map(|(_, seen)| seen.features.elem_count() * size_of::<f32>()).sum()
            };
            while self.known.len() > 1 && bytes(&self.known) > MOST {
                self.known.pop_front();
            }
        }
        Ok(seen)
    }
}

/// By way of a file, as pictures of all other origins.
fn read(bytes: &[u8], processor: &ImageProcessor) -> Result<Pixels> {
    let write_error = |source| Error::Write { path: std::env::temp_dir(), source };
    let mut file = tempfile::NamedTempFile::new().map_err(write_error)?;
    file.write_all(bytes).map_err(write_error)?;
    let image = processor.look(file.path()).map_err(ImageError::from)?;
    Ok(processor.load(&image)?)
}

/// Whoever sent it knows nothing of the file.
fn numbered(error: Error, number: usize) -> Error {
    match error {
        Error::Image(ImageError::Picture(PictureError { fault, .. })) => {
            Error::Image(PictureError { path: number.to_string().into(), fault }.into())
        }
        other => other,
    }
}
