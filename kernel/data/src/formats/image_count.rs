//! Why a record has another number of images than of `<image>` placeholders.

use tunebook_quote::quote;

use super::Record;
use super::fields::is_null;
use crate::skip::NoPictures;
use crate::{Columns, SkipReason};

/// The names that keys of pictures have somewhere within.
const LIKELY: [&str; 5] = ["image", "img", "picture", "photo", "图"];

/// The reason, which says more where the record's pictures were not found at all.
pub(super) fn mismatch(record: &Record, columns: &Columns, placeholders: usize, images: usize) -> SkipReason {
    let column = columns.images.as_deref();
    let likely = |key: &&String| {
        let name = key.to_lowercase();
        Some(key.as_str()) != column && LIKELY.iter().any(|part| name.contains(part)) && !is_null(record, key)
    };
    let other = record.keys().find(likely).map(|key| quote(key));
    let why = (images == 0).then(|| match column {
        None => NoPictures::NoColumn { other },
        Some(column) if record.contains_key(column) => NoPictures::Empty { column: quote(column) },
        Some(column) => NoPictures::NoKey { column: quote(column), other },
    });
    SkipReason::ImageCount { placeholders, images, why }
}
