//! Plain shapes as data sets: questions such as the model has learned to answer, about pictures that it has not seen.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tunebook_data::drawn::{DrawnError, write_picture, write_records};

use crate::scene::Scene;
use crate::shapes;

/// Name of the set to train on.
pub const SHAPES: &str = "shapes";
/// Name of the set to ask about.
pub const SHAPES_HELD_OUT: &str = "shapes_held_out";

/// Samples of both, each a question about a picture of its own.
const COUNTS: [(&str, usize); 2] = [(SHAPES, 240), (SHAPES_HELD_OUT, 60)];
/// Another one than that of the scenes from which the model has learned.
const SEED: u64 = 7;

/// Writes both sets and their pictures into `dir`; a record of `dataset_info.json` is left to the caller.
///
/// # Errors
/// A file cannot be written.
pub fn write(dir: &Path) -> Result<(), DrawnError> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for (name, count) in COUNTS {
        let records = (0..count).map(|index| {
            let scene = scene(index, &mut rng).conversation(1, &mut rng);
            let image = format!("images/{name}_{index:04}.png");
            if let Some(picture) = &scene.picture {
                write_picture(&dir.join(&image), picture)?;
            }
            Ok(scene.record(&image))
        });
        write_records(dir, name, records.collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

/// One shape, several and a pair by turns.
fn scene(index: usize, rng: &mut ChaCha8Rng) -> Scene {
    match index % 3 {
        0 => shapes::one(rng),
        1 => shapes::several(rng),
        _ => shapes::pair(rng),
    }
}
