//! The data that a vision-language model learns from: datasets declared in LLaMA-Factory's `dataset_info.json`, the
//! chat template, images as patches, encoded samples, the order in which training sees them, and a small dataset of our
//! own.
//!
//! Nothing here knows a model or a tensor: token ids, labels and slices of f32 come out. What is wrong with one sample
//! never stops a run ([`SkipReason`]); what is wrong with a file as a whole is an error that names it.
//!
//! Numbers from outside that decide how much memory is needed are limited, because Rust ends the process if an
//! allocation fails, and everything trained so far would be lost. Images have at most as many pixels as Pillow opens,
//! in their files and after every resize; records are repeated for at most ten million samples; and the image processor
//! must cut the patch size that `config.json` names, since the weights have that size.

mod batch;
mod boxes;
mod choice;
pub mod creatures;
mod cutoff;
mod dataset;
mod dataset_info;
mod decode_stream;
pub mod drawn;
mod encode;
mod error;
#[cfg(test)]
mod fixtures;
mod formats;
mod image;
pub mod json_text;
mod numpy_random;
mod packing;
mod picture_store;
mod python_json;
pub mod random;
mod records;
mod sample;
mod skip;
mod template;
mod text_file;
mod thoughts;
mod tokenizer;
mod tools;

pub use batch::{Position, Sampler};
pub use boxes::{BoxScale, BoxSurvey, FoundBox, Sizes, convert_boxes, find_boxes, on_images};
pub use choice::{ChoiceError, MixStrategy, mix, split};
pub use cutoff::infer_seqlen;
pub use dataset::{DatasetReader, Row};
pub use dataset_info::{Columns, DATASET_INFO, DatasetEntry, DatasetInfo, Formatting, HubDataset, Source, Tags};
pub use decode_stream::DecodeStream;
pub use encode::{EncodeError, EncodeOptions, Encoded, Encoder, IGNORE_INDEX};
pub use error::{DatasetError, Unsupported};
pub use formats::NEXT_TOOL_RESULT;
pub use image::{
    ConfigProblem, DEFAULT_IMAGE_MAX_PIXELS, DEFAULT_IMAGE_MIN_PIXELS, Grid, ImageError, ImageProcessor, ImageRef,
    OtherFile, Picture, PictureError, PictureFault, Pixels, read_picture,
};
pub use packing::pack;
pub use records::{Heard, Origin};
pub use sample::{IMAGE_PLACEHOLDER, Message, Role, Sample};
pub use skip::{NoPictures, SkipKind, SkipReason, Skipped, ValueType};
pub use template::{Slots, Template, TemplateError, Turn};
pub use thoughts::Thinking;
pub use tokenizer::{SpecialTokens, Tokenizer, TokenizerError};
pub use tools::ToolError;
