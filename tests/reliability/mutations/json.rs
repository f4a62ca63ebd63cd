//! Mutations of JSON by its structure: what comes out is mostly JSON, but not what was meant.

use serde_json::Map;
use serde_json::Value;

use super::bytes;
use super::bytes::EXTREMES;
use super::bytes::strange;
use super::dice::Dice;

/// What serde_json's values cannot hold is written between these, as a string, and freed from its quotes afterwards.
const RAW: (&str, &str) = ("\"@raw(", ")raw@\"");
/// Goes before a key that another one of the same object equals.
const TWIN: &str = "@twin@";

/// The text of `value` after one to three changes.
pub(super) fn mutate(dice: &mut Dice, value: &Value) -> Vec<u8> {
    let mut value = value.clone();
    for _ in 0..1 + dice.below(2) * dice.below(3) {
        let count = count(&value);
        let whole = value.clone();
        let node = node(&mut value, &mut dice.below(count));
        change(dice, node.unwrap_or(&mut Value::Null), &whole);
    }
    let text = written(&value);
    if dice.once_in(6) { bytes::mutate(dice, text.as_bytes()) } else { text.into_bytes() }
}

/// The same of the text of a file.
pub(super) fn mutate_file(dice: &mut Dice, text: &[u8]) -> Vec<u8> {
    mutate(dice, &serde_json::from_slice(text).unwrap())
}

fn written(value: &Value) -> String {
    let text = value.to_string().replace(TWIN, "");
    let mut parts = text.split(RAW.0);
    let mut written = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let (raw, rest) = part.split_once(RAW.1).unwrap_or((part, ""));
        // Escaped as a string's content is.
        written += &raw.replace("\\\\", "\\").replace("\\\"", "\"");
        written += rest;
    }
    written
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum::<usize>(),
        Value::Object(entries) => entries.values().map(count).sum(),
        _ => 0,
    }
}

/// The value that comes after so many others.
fn node<'a>(value: &'a mut Value, before: &mut usize) -> Option<&'a mut Value> {
    if *before == 0 {
        return Some(value);
    }
    *before -= 1;
    match value {
        Value::Array(values) => values.iter_mut().find_map(|value| node(value, before)),
        Value::Object(entries) => entries.values_mut().find_map(|value| node(value, before)),
        _ => None,
    }
}

fn change(dice: &mut Dice, value: &mut Value, whole: &Value) {
    match value {
        Value::Object(entries) if dice.once_in(2) => change_object(dice, entries),
        Value::Array(values) if dice.once_in(2) => change_array(dice, values),
        Value::Number(_) if !dice.once_in(4) => *value = raw(dice.pick::<&str>(&EXTREMES)),
        Value::String(_) if dice.once_in(2) => *value = string(dice),
        _ => *value = other(dice, whole),
    }
}

fn change_object(dice: &mut Dice, entries: &mut Map<String, Value>) {
    let keys: Vec<_> = entries.keys().cloned().collect();
    if keys.is_empty() {
        return;
    }
    let (key, from) = (dice.pick(&keys).clone(), dice.pick(&keys).clone());
    match dice.below(4) {
        0 => drop(entries.shift_remove(&key)),
        1 => {
            let value = entries[&from].clone();
            entries.insert(format!("{TWIN}{key}"), value);
        }
        2 => {
            let value = entries.shift_remove(&key).unwrap_or_default();
            entries.insert(strange(dice), value);
        }
        _ => {
            let value = entries[&from].clone();
            entries.insert(key, value);
        }
    }
}

fn change_array(dice: &mut Dice, values: &mut Vec<Value>) {
    let at = dice.below(values.len());
    match dice.below(4) {
        _ if values.is_empty() => values.push(Value::Null),
        0 => drop(values.remove(at)),
        1 => values.clear(),
        2 => {
            let copy = values[at].clone();
            values.extend(std::iter::repeat_n(copy, *dice.pick(&[1, 3, 500])));
        }
        _ => values.rotate_left(at),
    }
}

/// A value of perhaps another type.
fn other(dice: &mut Dice, whole: &Value) -> Value {
    match dice.below(9) {
        0 => Value::Null,
        1 => Value::Bool(dice.once_in(2)),
        2 => raw(dice.pick::<&str>(&EXTREMES)),
        3 => string(dice),
        4 => Value::Array(Vec::new()),
        5 => Value::Object(Map::new()),
        6 => {
            let depth = *dice.pick(&[20, 127, 129, 100_000]);
            let (open, close) = *dice.pick(&[("[", "]"), ("{\"a\":", "}")]);
            raw(&format!("{}0{}", open.repeat(depth), close.repeat(depth)))
        }
        7 => Value::Array(vec![string(dice), raw("1"), Value::Null]),
        _ => whole.clone(),
    }
}

fn string(dice: &mut Dice) -> Value {
    match dice.below(6) {
        0 => raw("\"\\ud800\\udc0\\u0000\""),
        1 => raw("\"\\ud83d\""),
        2 => Value::from(*dice.pick::<&str>(&EXTREMES)),
        _ => Value::from(strange(dice)),
    }
}

fn raw(text: &str) -> Value {
    let (open, close) = (RAW.0.trim_start_matches('"'), RAW.1.trim_end_matches('"'));
    Value::from(format!("{open}{text}{close}"))
}
