//! Boxes in texts: where they are written, in which scale, and on which picture.
//!
//! The Qwen models write a box in one of two ways, which are all that is looked for:
//!
//! ```text
//! [{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}]                                     Qwen2.5-VL, Qwen3-VL
//! <|object_ref_start|>cat<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>    Qwen2-VL
//! ```
//!
//! They do not agree on the scale, and no file says in which its boxes are. With the wrong one, a training runs as well as
//! with the right one, and the boxes that come out are off by a factor.

mod convert;
mod find;
mod scale;

pub use convert::{BoxSurvey, convert_boxes};
pub use find::{FoundBox, find_boxes, on_images};
pub use scale::{BoxScale, Sizes};
