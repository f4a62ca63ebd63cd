//! The samples of the data in use, with small pictures.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use tunebook_engine::Session;
use tunebook_engine::Split;
use tunebook_engine::sample_text::SampleText;
use tunebook_view::html::thumbnail;

/// What a page asks to see.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    id: String,
    split: Which,
    from: usize,
    count: usize,
    #[serde(default)]
    query: String,
    order: Order,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Which {
    Train,
    Eval,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Order {
    File,
    Loss,
}

/// A loss by whether its sample is held out, and by its number.
pub(crate) type Losses = BTreeMap<(bool, usize), f64>;

/// The most samples of an answer, and the largest side of their pictures.
const MOST: usize = 100;
const SIDE: u32 = 160;

/// The samples that are asked for: those in which all words of the query occur, in order, those with the highest loss first
/// if that is the order.
pub(crate) fn answer(asked: &Asked, session: &Session, losses: &Losses) -> Value {
    let Asked { id, split, from, count, query, order } = asked;
    let (is_eval, split) = (*split == Which::Eval, if *split == Which::Eval { Split::Eval } else { Split::Train });
    let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
    let fits = |sample: &SampleText| {
        let text = sample.turns.iter().map(|(_, text)| text.to_lowercase()).collect::<Vec<_>>().join("\n");
        words.iter().all(|word| text.contains(word))
    };
    let mut found = match session.sample_texts(split) {
        Ok(samples) => samples,
        Err(error) => return json!({"type": "failed", "id": id, "cause": error.to_string()}),
    };
    found.retain(fits);
    let loss = |sample: &SampleText| losses.get(&(is_eval, sample.index)).copied();
    if *order == Order::Loss {
        let key = |sample: &SampleText| loss(sample).unwrap_or(f64::NEG_INFINITY);
        found.sort_by(|a, b| key(b).total_cmp(&key(a)));
    }
    let row = |sample: &SampleText| {
        let turns: Vec<_> = sample.turns.iter().map(|(role, text)| json!({"role": role, "text": text})).collect();
        let pictures: Vec<_> = sample.images.iter().filter_map(|path| thumbnail(path, SIDE)).collect();
        json!({
            "index": sample.index, "messages": turns, "pictures": pictures, "dropped": sample.dropped,
            "loss": loss(sample),
        })
    };
    let rows: Vec<_> = found.iter().skip(*from).take((*count).min(MOST)).map(row).collect();
    json!({"type": "samples", "id": id, "total": found.len(), "rows": rows})
}
