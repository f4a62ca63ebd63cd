//! A dataset of our own: little creatures, drawn by code, with descriptions.
//!
//! A creature is put together from a colour, ears, a body and a tail, and everything about it follows from these: the
//! colour decides its type; colour, ears and body its name; the tail its temper. Some combinations are kept out of the
//! training set; a model that names those has understood the rules.

pub mod canvas;
mod draw;
mod kind;
mod words;

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::drawn::{DrawnError, write_info, write_picture, write_records};
use crate::random::{CREATURES, below, shuffle};
pub use draw::{Sizes, draw};
pub use kind::{Body, Colour, Ears, Kind, Tail, Words};

/// Name of the training set in `dataset_info.json`.
pub const CREATURES_TRAIN: &str = "creatures";
/// Name of the set of the combinations that are kept out of it.
pub const CREATURES_HELD_OUT: &str = "creatures_held_out";

/// Writes `count` creatures into `dir`: `images/*.png`, `creatures.json`, `creatures_held_out.json` (a fifth of
/// them) and `dataset_info.json`, all in the form of LLaMA-Factory's sharegpt datasets. The same seed gives the
/// same files, byte for byte. `sizes` are those of the pictures.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn write_creatures(dir: &Path, count: usize, seed: u64, sizes: Sizes) -> Result<(), DrawnError> {
    write_sets(dir, count, seed, sizes)?;
    write_info(dir, &[CREATURES_TRAIN, CREATURES_HELD_OUT])
}

/// The same without `dataset_info.json`, for a folder that holds other datasets beside them.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn write_sets(dir: &Path, count: usize, seed: u64, sizes: Sizes) -> Result<(), DrawnError> {
    let images = dir.join("images");
    std::fs::create_dir_all(&images).map_err(|source| DrawnError::Write { path: images, source })?;
    let held_out = count / 5;
    write_set(dir, CREATURES_TRAIN, &kinds(count - held_out, false, seed), seed, sizes)?;
    write_set(dir, CREATURES_HELD_OUT, &kinds(held_out, true, seed), seed, sizes)
}

/// `count` kinds of one side of the split: all of them in a shuffled order, again and again, with any tail.
fn kinds(count: usize, held_out: bool, seed: u64) -> Vec<Kind> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(CREATURES + u64::from(held_out));
    let mut round = Vec::new();
    let mut kinds = Vec::with_capacity(count);
    while kinds.len() < count {
        if round.is_empty() {
            round = (0..Kind::COUNT).filter(|index| Kind::nth(*index, Tail::Curly).is_held_out() == held_out).collect();
            shuffle(&mut round, &mut rng);
        }
        let tail = Tail::ALL[below(&mut rng, Tail::ALL.len())];
        kinds.extend(round.pop().map(|index| Kind::nth(index, tail)));
    }
    kinds
}

fn write_set(dir: &Path, name: &str, kinds: &[Kind], seed: u64, sizes: Sizes) -> Result<(), DrawnError> {
    let records = kinds
        .par_iter()
        .enumerate()
        .map(|(index, kind)| {
            let image = format!("images/{name}_{index:04}.png");
            // A picture depends on its name alone, not on how many others there are.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let set = u64::from(kind.is_held_out()) + 1;
            rng.set_stream(CREATURES + (set << 24) + index as u64);
            write_picture(&dir.join(&image), &draw(*kind, sizes, &mut rng))?;
            // Held-out creatures are asked for all there is to say.
            let form = if kind.is_held_out() { index % 2 } else { index };
            Ok(record(*kind, form, &image))
        })
        .collect::<Result<Vec<_>, _>>()?;
    write_records(dir, name, records)
}

fn record(kind: Kind, form: usize, image: &str) -> Value {
    let messages: Vec<_> = words::conversation(kind, form)
        .into_iter()
        .enumerate()
        .map(|(turn, text)| json!({"from": if turn % 2 == 0 { "human" } else { "gpt" }, "value": text}))
        .collect();
    json!({"messages": messages, "images": [image]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatasetInfo, DatasetReader, Sample};

    fn load(dir: &Path, name: &str) -> Vec<Sample> {
        let entry = DatasetInfo::read(dir).unwrap().entry(name).unwrap();
        DatasetReader::new(dir, dir, None, 42).read(&entry).unwrap().into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn the_data_set_reads_back_without_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        write_creatures(dir.path(), 30, 7, Sizes::MIXED).unwrap();
        let (train, held_out) = (load(dir.path(), CREATURES_TRAIN), load(dir.path(), CREATURES_HELD_OUT));
        assert_eq!((train.len(), held_out.len()), (24, 6));
        for sample in train.iter().chain(&held_out) {
            let image = image::open(&sample.images[0]).unwrap().into_rgb8();
            assert!((112..=168).contains(&image.width()) && (112..=168).contains(&image.height()));
            assert_eq!(image.get_pixel(0, 0).0, [255; 3], "the background is white");
            let drawn = image.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
            assert!(drawn * 6 > image.pixels().len(), "{:?}", sample.images);
        }
    }

    #[test]
    fn what_is_said_follows_from_the_parts() {
        let kind = Kind::nth(1, Tail::Puffy);
        let said: Vec<_> = (0..6).flat_map(|form| words::conversation(kind, form)).collect();
        assert!(said[1].starts_with("这是雷尖团，一只电系小精灵。"), "{}", said[1]);
        assert_eq!(
            said[3],
            "This is Volkibo, a creature of the electric type. It has a round yellow body, pointed ears and a puffy \
             tail. It is shy."
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_files() {
        let read = |count, seed| {
            let dir = tempfile::tempdir().unwrap();
            write_creatures(dir.path(), count, seed, Sizes::MIXED).unwrap();
            let picture = std::fs::read(dir.path().join("images/creatures_0003.png")).unwrap();
            (picture, std::fs::read(dir.path().join("creatures.json")).unwrap())
        };
        assert_eq!(read(10, 1), read(10, 1));
        assert_ne!(read(10, 1).1, read(10, 2).1);
        assert_eq!(read(10, 1).0, read(20, 1).0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = write_creatures(&file, 1, 1, Sizes::MIXED).unwrap_err();
        assert!(error.to_string().contains("file/images"), "{error}");
    }
}
