//! Scenes as data sets of LLaMA-Factory's sharegpt form.

use std::error::Error;
use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use tunebook_data::creatures::Words;
use tunebook_data::random::below;
use tunebook_demo::scene::{Scene, Topic};
use tunebook_demo::shapes;

use crate::{creature, talk};

const SEED: u64 = 20261124;
/// Samples of a held-out set.
const HELD_OUT: usize = 200;
/// Questions about a picture.
const TURNS: usize = 4;

/// How often there is one shape, several, a pair, a creature, words to say after, and a pleasantry.
type Mix = [usize; 6];

/// Creatures are nearly half of what there is to see: their parts are harder to tell apart than plain shapes.
const SCENES: Mix = [9, 9, 7, 21, 3, 1];
/// To say of each of two things what belongs to it is learned last, when all else is known.
const PAIRS: Mix = [5, 5, 28, 10, 1, 1];

/// Writes `scenes` conversations to learn from as data set `scenes`, half as many as `pairs`, and [`HELD_OUT`] questions
/// about pictures of their own for each of [`Topic::HELD_OUT`].
pub(crate) fn write(dir: &Path, scenes: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    fs::create_dir_all(dir.join("images"))?;
    let words = talk::words();
    let mut info = Map::new();
    let mut add = |name: &str, records: Vec<Value>| {
        info.insert(
            name.to_string(),
            json!({
                "file_name": format!("{name}.json"),
                "formatting": "sharegpt",
                "columns": {"messages": "messages", "images": "images"},
            }),
        );
        fs::write(dir.join(format!("{name}.json")), format!("{:#}\n", Value::Array(records)))
    };
    for (set, name, mix, count) in [(0, "scenes", SCENES, scenes), (1 << 16, "pairs", PAIRS, scenes / 2)] {
        let records = (0..count).into_par_iter().map(|index| {
            let mut rng = stream(set, index);
            let scene = any_scene(mix, &words, &mut rng).conversation(TURNS, &mut rng);
            record(dir, &format!("{name}_{index:06}"), &scene)
        });
        add(name, records.collect::<Result<_, _>>()?)?;
    }
    for (set, (topic, name)) in Topic::HELD_OUT.into_iter().enumerate() {
        let records = (0..HELD_OUT).into_par_iter().map(|index| {
            let mut rng = stream(1 + set, index);
            let mut scene = loop {
                let mut scene = any_scene(SCENES, &words, &mut rng);
                scene.turns.retain(|turn| turn.topic == topic);
                if !scene.turns.is_empty() {
                    break scene.conversation(1, &mut rng);
                }
            };
            scene.turns.truncate(1);
            record(dir, &format!("{name}_{index:03}"), &scene)
        });
        add(name, records.collect::<Result<_, _>>()?)?;
    }
    fs::write(dir.join(tunebook_data::DATASET_INFO), format!("{:#}\n", Value::Object(info)))?;
    Ok(())
}

/// A stream of random numbers for every scene of every set, so that none depends on how many there are.
fn stream(set: usize, index: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    rng.set_stream(((set as u64) << 32) + index as u64);
    rng
}

fn any_scene(mix: Mix, words: &[Words], rng: &mut ChaCha8Rng) -> Scene {
    let mut drawn = below(rng, mix.iter().sum());
    let kind = mix.iter().position(|share| match drawn.checked_sub(*share) {
        Some(rest) => {
            drawn = rest;
            false
        }
        None => true,
    });
    match kind {
        Some(0) => shapes::one(rng),
        Some(1) => shapes::several(rng),
        Some(2) => shapes::pair(rng),
        Some(3) => creature::creature(rng),
        Some(4) => talk::echo(words, rng),
        _ => talk::pleasantry(rng),
    }
}

fn record(dir: &Path, name: &str, scene: &Scene) -> Result<Value, Box<dyn Error + Send + Sync>> {
    let image = format!("images/{name}.png");
    if let Some(picture) = &scene.picture {
        picture.save(dir.join(&image))?;
    }
    Ok(scene.record(&image))
}
