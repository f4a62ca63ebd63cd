use std::io::Cursor;

use serde_json::Value as Json;

use super::event::Seen;
use super::event::seen;
use super::event::start;
use super::event::summary;
use super::event::version;
use super::*;

fn fixture() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tensorboard/records.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn records_are_those_of_pytorch_and_tensorboard() {
    let fixture = fixture();
    let time = fixture["time"].as_f64().unwrap();
    let numbers = [("train/loss", 1.6875), ("train/epoch", 0.0), ("eval/loss", f64::NAN)];
    let numbers = numbers.map(|(tag, value)| Value::scalar(tag, value));
    let picture = Value::image("probes/x/picture 1", (3, 2), &bytes(&fixture["png"]));
    let events = [
        ("version", version(time)),
        ("start", start(time, 0)),
        ("start_at_300", start(time, 300)),
        ("scalars", summary(time, 70000, numbers.into())),
        ("text", summary(time, 0, vec![Value::text("probes/这是什么？", "皮卡丘 &#124; a<br>b")])),
        ("empty_text", summary(time, 7, vec![Value::text("probes/x", "")])),
        ("image", summary(time, 2, vec![picture])),
    ];
    assert_eq!(fixture["records"].as_object().unwrap().len(), events.len());
    for (name, event) in events {
        assert_eq!(record::record(&event), bytes(&fixture["records"][name]), "{name}");
    }
}

#[test]
fn the_steps_of_a_file_are_read_up_to_where_it_is_whole() {
    let events = [version(1.0), start(1.0, 0), summary(1.0, 70000, Vec::new()), start(1.0, 300)];
    let whole: Vec<u8> = events.iter().flat_map(|event| record::record(event)).collect();
    let read = |file: &[u8]| {
        let mut found = Vec::new();
        let mut hear = |beginning: &[u8]| found.extend(seen(beginning));
        record::beginnings(&mut Cursor::new(file), event::BEGINNING, &mut hear).unwrap();
        found
    };
    let expected = [Seen::Start { step: 0 }, Seen::Values { step: 70000 }, Seen::Start { step: 300 }];
    assert_eq!(read(&whole), expected);
    for cut in 1..16 {
        assert_eq!(read(&whole[..whole.len() - cut]), expected[..2], "{cut}");
    }
    // What says that it is longer than the file, and what is no such file.
    assert!(read(&[0xff; 40]).is_empty() && read(b"").is_empty());
    let mut damaged = whole.clone();
    damaged[0] ^= 1;
    assert!(read(&damaged).is_empty());
    // Whichever bit is wrong, it comes to an end.
    for bit in 0..8 * whole.len() {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).len() <= 4);
    }
    assert_eq!(seen(&[9, 0, 0]), None);
    assert_eq!(seen(&[0xff; 30]), None);
}
