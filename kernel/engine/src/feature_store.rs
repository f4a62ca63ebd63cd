//! Where the features of pictures are kept: in memory as far as that goes, the rest in a temporary file.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;

use candle_core::Device;
use candle_core::Tensor;

use crate::error::Result;
use crate::pictures::PictureKey;
use crate::temporary_file;

/// Features by image. What is in memory stays there: an epoch visits its images in turn, so evicting the oldest would
/// mean that none is ever found in memory again.
pub(crate) struct FeatureStore {
    places: HashMap<PictureKey, Place>,
    /// Bytes that may still be used.
    memory_left: usize,
    file_left: usize,
    file: Option<File>,
}

enum Place {
    Memory(Tensor),
    /// From byte `offset` of the file on, a matrix of so many rows and columns of f32.
    File {
        offset: u64,
        shape: (usize, usize),
    },
}

const MEMORY: usize = 1 << 30;
const FILE: usize = 16 << 30;

impl Default for FeatureStore {
    fn default() -> Self {
        Self::with_limits(MEMORY, FILE)
    }
}

impl FeatureStore {
    fn with_limits(memory: usize, file: usize) -> Self {
        Self { places: HashMap::new(), memory_left: memory, file_left: file, file: None }
    }

    pub(crate) fn contains(&self, key: &PictureKey) -> bool {
        self.places.contains_key(key)
    }

    /// The features of an image, if they are stored; none if the file cannot be read.
    ///
    /// # Errors
    /// An error of candle.
    pub(crate) fn get(&mut self, key: &PictureKey) -> Result<Option<Tensor>> {
        let (offset, shape) = match self.places.get(key) {
            None => return Ok(None),
            Some(Place::Memory(features)) => return Ok(Some(features.clone())),
            Some(Place::File { offset, shape }) => (*offset, *shape),
        };
        let mut values = vec![0f32; shape.0 * shape.1];
        let read = self.file.as_mut().is_some_and(|file| {
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut values)))
                .is_ok()
        });
        if !read {
            self.places.remove(key);
            return Ok(None);
        }
        Ok(Some(Tensor::from_vec(values, shape, &Device::Cpu)?))
    }

    /// Stores the features of an image, `[tokens, hidden]`, if there is room.
    ///
    /// # Errors
    /// They are not a matrix of f32.
    pub(crate) fn put(&mut self, key: PictureKey, features: &Tensor) -> Result<()> {
        let shape = features.dims2()?;
        let bytes = shape.0 * shape.1 * size_of::<f32>();
        if bytes <= self.memory_left {
            self.memory_left -= bytes;
            self.places.insert(key, Place::Memory(features.clone()));
        } else if bytes <= self.file_left {
            let values = features.flatten_all()?.to_vec1::<f32>()?;
            match self.append(bytemuck::cast_slice(&values)) {
                Ok(offset) => {
                    self.file_left -= bytes;
                    self.places.insert(key, Place::File { offset, shape });
                }
                // A full disk: what is there stays, and nothing more is written.
                Err(_) => self.file_left = 0,
            }
        }
        Ok(())
    }

    /// Appends to the file; returns the offset.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(temporary_file::open()?),
        };
        let offset = file.seek(SeekFrom::End(0))?;
        file.write_all(bytes)?;
        Ok(offset)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tunebook_data::Grid;
    use tunebook_data::ImageProcessor;
    use tunebook_data::ImageRef;

    use super::*;

    fn key(name: usize) -> PictureKey {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tiny");
        let image = ImageRef { path: format!("{name}.png").into(), size: (28, 14), grid: Grid { t: 1, h: 2, w: 2 } };
        PictureKey::of(&image, &ImageProcessor::from_folder(&tiny).unwrap())
    }

    /// 3 × 2, 24 bytes.
    fn features(of: usize) -> Tensor {
        Tensor::arange(of as f32, of as f32 + 6.0, &Device::Cpu).unwrap().reshape((3, 2)).unwrap()
    }

    #[test]
    fn what_memory_does_not_hold_comes_back_from_the_file_and_the_rest_is_left_out() {
        let mut store = FeatureStore::with_limits(50, 75);
        for of in 0..7 {
            store.put(key(of), &features(of)).unwrap();
        }
        for of in [4, 0, 2, 3, 1, 4] {
            let found = store.get(&key(of)).unwrap().expect("it is kept");
            assert_eq!(found.to_vec2::<f32>().unwrap(), features(of).to_vec2::<f32>().unwrap(), "{of}");
            assert_eq!(matches!(store.places[&key(of)], Place::Memory(_)), of < 2, "{of}");
        }
        for of in [5, 6, 7] {
            assert!(store.get(&key(of)).unwrap().is_none() && !store.contains(&key(of)), "{of}");
        }
    }
}
