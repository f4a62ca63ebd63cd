//! Images to patches, as LLaMA-Factory and transformers prepare them for the Qwen-VL models.

mod config;
mod fault;
mod file;
mod format;
mod jpeg;
mod palette;
mod patches;
mod processor;
mod resize;
mod rgb;
mod whole;

use std::path::PathBuf;

pub use fault::{PictureError, PictureFault};
pub use file::{Picture, read_picture};
pub use format::OtherFile;
pub use processor::{DEFAULT_IMAGE_MAX_PIXELS, DEFAULT_IMAGE_MIN_PIXELS, ImageProcessor};

/// The patch grid of an image: `t` frames of `h` × `w` patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    pub t: usize,
    pub h: usize,
    pub w: usize,
}

impl Grid {
    /// t·h·w
    pub fn patches(&self) -> usize {
        self.t * self.h * self.w
    }
}

/// An image of an encoded sample: its path, and its size and grid when the sample was encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    pub path: PathBuf,
    /// Width and height of the file, turned upright.
    pub size: (u32, u32),
    pub grid: Grid,
}

/// An image as the vision tower reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// `[grid.patches(), channels · temporal_patch_size · patch_size²]`, row-major.
    pub patches: Vec<f32>,
    pub grid: Grid,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column} is not valid JSON: {message}", path.display())]
    Json { path: PathBuf, line: usize, column: usize, message: String },
    #[error(
        "{} contains neither preprocessor_config.json nor processor_config.json with an image_processor, which \
         describe how a model's images are prepared",
        folder.display()
    )]
    NoConfig { folder: PathBuf },
    #[error("{}: `{key}` {problem}", path.display())]
    Config { path: PathBuf, key: &'static str, problem: ConfigProblem },
    #[error("image_min_pixels {min} is above image_max_pixels {max}")]
    Limits { min: usize, max: usize },
    #[error(transparent)]
    Picture(#[from] PictureError),
}

/// What is wrong with a number of the image processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    #[error("must be an integer of at least 1")]
    NotPositiveInteger,
    #[error("must be a number")]
    NotNumber,
    #[error("must be a list of three numbers")]
    NotThreeNumbers,
    #[error("must not be 0")]
    Zero,
    #[error("must not contain 0")]
    HoldsZero,
    #[error("must not be above max_pixels")]
    AboveMaxPixels,
    #[error("must be 3 (bicubic)")]
    NotBicubic,
}
