//! Pictures as the language model reads them: features of the frozen vision tower, computed once.

use std::collections::HashMap;
use std::time::SystemTime;

use candle_core::Tensor;
use tunebook_data::ImageProcessor;
use tunebook_data::ImageRef;
use tunebook_nn::qwen2_5_vl::Qwen2_5Vl;

use crate::error::Result;

/// Features of the pictures seen so far. While the tower is frozen they never change, and the same pictures come
/// back every epoch and every chat turn.
///
/// When the cache is full nothing more is added: an epoch visits its pictures in turn, where throwing out the
/// oldest would mean that none is ever found again.
#[derive(Default)]
pub struct Features {
    known: HashMap<Key, Tensor>,
    bytes: usize,
}

/// A picture file is known by its name, its grid and the time it was last written.
type Key = (ImageRef, Option<SystemTime>);

/// What the cache may hold.
const LIMIT_BYTES: usize = 2 << 30;

impl Features {
    /// The features of `image`, `[tokens, hidden]`.
    ///
    /// # Errors
    /// The picture cannot be read any more, or has another size than when it was encoded.
    pub fn get(&mut self, net: &Qwen2_5Vl, processor: &ImageProcessor, image: &ImageRef) -> Result<Tensor> {
        let written = std::fs::metadata(&image.path).and_then(|m| m.modified()).ok();
        let key = (image.clone(), written);
        if let Some(features) = self.known.get(&key) {
            return Ok(features.clone());
        }
        let pixels = processor.load(image)?;
        let features = net.vision.features(pixels.patches, &[grid_thw(image)])?;
        let bytes = features.elem_count() * size_of::<f32>();
        if self.bytes + bytes <= LIMIT_BYTES {
            self.bytes += bytes;
            self.known.insert(key, features.clone());
        }
        Ok(features)
    }
}

/// The grid in the order of `image_grid_thw`.
pub fn grid_thw(image: &ImageRef) -> [usize; 3] {
    [image.grid.t, image.grid.h, image.grid.w]
}
