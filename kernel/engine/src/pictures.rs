//! Images as the language model reads them: features of the frozen vision tower, computed once.
//!
//! Features are kept in memory, and beyond that in an unnamed temporary file. The images of the next pass are decoded
//! and resized while the current one trains. Each image goes through the tower by itself, so its features have the same
//! bits whatever it is batched with, and a resumed training equals one that was not stopped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::TryRecvError;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use candle_core::Tensor;
use tunebook_data::Grid;
use tunebook_data::ImageError;
use tunebook_data::ImageProcessor;
use tunebook_data::ImageRef;
use tunebook_data::Pixels;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::ForwardContext;

use crate::error::Result;
use crate::feature_store::FeatureStore;
use crate::file_state::FileState;

/// What a picture is known by: its file, as long as nobody has written or replaced it, and how it is prepared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PictureKey {
    image: ImageRef,
    file: Option<FileState>,
    /// Pictures of one grid may have been resized in different ways before they got it.
    image_max_pixels: usize,
    image_min_pixels: usize,
}

impl PictureKey {
    pub fn of(image: &ImageRef, processor: &ImageProcessor) -> Self {
        Self {
            image: image.clone(),
            file: std::fs::metadata(&image.path).ok().as_ref().map(FileState::of),
            image_max_pixels: processor.image_max_pixels,
            image_min_pixels: processor.image_min_pixels,
        }
    }
}

/// Features of the pictures seen so far. While the tower is frozen they never change, and the same pictures come
/// back every epoch and every chat turn.
#[derive(Default)]
pub struct Features {
    known: Arc<Mutex<FeatureStore>>,
    /// Pictures that are being read ahead.
    ahead: HashMap<PictureKey, Receiver<std::result::Result<Pixels, ImageError>>>,
}

impl Features {
    /// The same features, for somebody else who reads other pictures ahead.
    pub fn shared(&self) -> Self {
        Self { known: Arc::clone(&self.known), ahead: HashMap::new() }
    }

    /// The features of `image`, `[tokens, hidden]`. Those of an adapter that changes them are not kept: training it
    /// changes them again. `stop` is asked before each layer of the tower.
    ///
    /// # Errors
    /// The picture cannot be read any more, or has another size than when it was encoded; a stop.
    pub fn get(
        &mut self,
        net: &VisionLanguageModel,
        adapter: Option<&Adapter>,
        processor: &ImageProcessor,
        image: &ImageRef,
        stop: &dyn Fn() -> bool,
    ) -> Result<Tensor> {
        let base = ForwardContext { stop: Some(stop), ..ForwardContext::default() };
        if adapter.is_some_and(Adapter::changes_pictures) {
            let ctx = ForwardContext { adapter, ..base };
            return Ok(net.vision.forward(self.patches(processor, image)?, &[grid_thw(image)], ctx)?);
        }
        let key = PictureKey::of(image, processor);
        let known = self.known().get(&key)?;
        if let Some(features) = known {
            self.ahead.remove(&key);
            return Ok(features);
        }
        let patches = self.patches(processor, image)?;
        let features = net.vision.forward(patches, &[grid_thw(image)], base)?;
        self.known().put(key, &features)?;
        Ok(features)
    }

    fn known(&self) -> MutexGuard<'_, FeatureStore> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pixels of `image`, cut to patches.
    ///
    /// # Errors
    /// As [`Features::get`].
    pub fn patches(&mut self, processor: &ImageProcessor, image: &ImageRef) -> Result<Vec<f32>> {
        let ahead = self.ahead.remove(&PictureKey::of(image, processor));
        Ok(ahead.and_then(wait).unwrap_or_else(|| processor.load(image))?.patches)
    }

    /// Starts to decode and resize those of `images` that are not known, beside what goes on, for [`Features::get`]
    /// to find them ready. What was read ahead before and not asked for is dropped.
    pub fn read_ahead<'a>(&mut self, processor: &ImageProcessor, images: impl Iterator<Item = &'a ImageRef>) {
        let mut before = std::mem::take(&mut self.ahead);
        let mut jobs = Vec::new();
        for image in images {
            let key = PictureKey::of(image, processor);
            if self.known().contains(&key) || self.ahead.contains_key(&key) {
                continue;
            }
            let receiver = before.remove(&key).unwrap_or_else(|| {
                let (sender, receiver) = channel();
                jobs.push((image.clone(), sender));
                receiver
            });
            self.ahead.insert(key, receiver);
        }
        if jobs.is_empty() {
            return;
        }
        let processor = processor.clone();
        // A thread that cannot be had is no loss: pictures that were not read ahead are read when they are needed.
        let _ = thread::Builder::new().name("pictures".to_string()).spawn(move || {
            for (image, sender) in jobs {
                // Nobody waits any more if the training was left.
                if sender.send(processor.load(&image)).is_err() {
                    return;
                }
            }
        });
    }
}

/// What comes back from the thread that reads ahead; nothing if it is gone.
fn wait<T>(receiver: Receiver<T>) -> Option<T> {
    loop {
        match receiver.try_recv() {
            Ok(value) => return Some(value),
            Err(TryRecvError::Disconnected) => return None,
            // Resizing is spread over the pool, which this thread may belong to, and may be all of.
            Err(TryRecvError::Empty) => match rayon::yield_now() {
                Some(rayon::Yield::Executed) => {}
                _ => thread::sleep(Duration::from_micros(50)),
            },
        }
    }
}

/// The grid of an image in the order of `image_grid_thw`.
pub fn grid_thw(image: &ImageRef) -> [usize; 3] {
    thw(image.grid)
}

pub(crate) fn thw(grid: Grid) -> [usize; 3] {
    [grid.t, grid.h, grid.w]
}
