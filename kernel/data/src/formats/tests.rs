use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::fields::missing;
use super::*;
use crate::{DatasetInfo, DatasetReader, NoPictures, Role, Row, fixtures};

/// Reads a dataset whose `entry` leaves out its file. Pictures come from the fixtures.
fn read(entry: &Value, file: &str, bytes: &[u8]) -> (tempfile::TempDir, Vec<Row>) {
    let dir = tempfile::tempdir().unwrap();
    let mut entry = entry.clone();
    entry["file_name"] = file.into();
    std::fs::write(dir.path().join("dataset_info.json"), json!({"data": entry}).to_string()).unwrap();
    std::fs::write(dir.path().join(file), bytes).unwrap();
    let entry = DatasetInfo::read(dir.path()).unwrap().entry("data").unwrap();
    let pictures = dir.path().join("pictures");
    let rows = DatasetReader::new(&fixtures::path("pictures"), &pictures, None, 42).read(&entry).unwrap();
    (dir, rows)
}

fn reason(entry: &Value, record: Value) -> SkipReason {
    let (_dir, rows) = read(entry, "data.json", json!([record]).to_string().as_bytes());
    rows[0].as_ref().unwrap_err().reason.clone()
}

fn converted(sample: &Sample) -> Value {
    let role = |role| match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Observation => "observation",
        Role::Function => "function",
    };
    let messages: Vec<_> = sample.messages.iter().map(|message| json!([role(message.role), message.content])).collect();
    json!({"messages": messages, "system": sample.system, "tools": sample.tools})
}

/// Every format, column and file type, as LLaMA-Factory's own converters give them.
#[test]
fn records_become_llamafactorys_conversations() {
    let (mut pictures, mut dropped) = (0, 0);
    for case in fixtures::json("encode/formats.json")["cases"].as_array().unwrap() {
        let (name, file) = (case["name"].as_str().unwrap(), case["file"].as_str().unwrap());
        let bytes = match case["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => std::fs::read(fixtures::path("encode").join(file)).unwrap(),
        };
        let (dir, rows) = read(&case["entry"], file, &bytes);
        let expected = case["samples"].as_array().unwrap();
        assert_eq!(rows.len(), expected.len(), "{name}");
        for (row, expected) in rows.iter().zip(expected) {
            let Ok(sample) = row else {
                assert!(expected.is_null(), "{name}: {}", row.as_ref().unwrap_err());
                dropped += 1;
                continue;
            };
            let mut expected = expected.clone();
            let images = expected.as_object_mut().unwrap().remove("images").unwrap();
            assert_eq!(converted(sample), expected, "{name}");
            assert_eq!(sample.images.len(), images.as_array().unwrap().len(), "{name}");
            for (found, expected) in sample.images.iter().zip(images.as_array().unwrap()) {
                let bytes = std::fs::read(found).unwrap();
                let hash: String = Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                let known = match found.starts_with(dir.path()) {
                    true => hash,
                    false => found.file_name().unwrap().to_string_lossy().into_owned(),
                };
                assert_eq!(known, expected.as_str().unwrap(), "{name}");
                pictures += 1;
            }
        }
    }
    assert_eq!((pictures, dropped), (19, 8));
}

fn sharegpt() -> Value {
    json!({"formatting": "sharegpt", "columns": {"messages": "messages", "images": "images", "system": "system"}})
}

fn images(placeholders: usize, images: usize, why: Option<NoPictures>) -> SkipReason {
    SkipReason::ImageCount { placeholders, images, why }
}

fn say(turns: &[(&str, &str)]) -> Value {
    let turns: Vec<_> = turns.iter().map(|(role, content)| json!({"from": role, "value": content})).collect();
    json!({"messages": turns})
}

#[test]
fn each_fault_skips_its_sample_only() {
    let cases = [
        (json!(7), SkipReason::NotAnObject),
        (json!({}), missing("messages")),
        (json!({"messages": 3}), wrong_type("messages", ValueType::List)),
        (json!({"messages": "three"}), wrong_type("messages", ValueType::List)),
        (json!({"messages": [3]}), SkipReason::NotAnObject),
        (say(&[]), SkipReason::NoMessages),
        (say(&[("human", "q"), ("gpt", "a"), ("human", "q")]), SkipReason::OddMessageCount { count: 3 }),
        (say(&[("human", "q"), ("human", "q")]), SkipReason::WrongTurn { turn: 1, role: Role::User }),
        (say(&[("function_call", "q"), ("gpt", "q")]), SkipReason::WrongTurn { turn: 0, role: Role::Function }),
        (
            say(&[("human", "q"), ("narrator", "x")]),
            SkipReason::UnknownRole {
                turn: 1,
                role: "narrator".to_owned(),
                known: "human, gpt, observation, function_call, system".to_owned(),
            },
        ),
        (
            say(&[("human", "q"), ("gpt", "a"), ("system", "s"), ("human", "q"), ("gpt", "a")]),
            SkipReason::SystemInside { turn: 2 },
        ),
        (json!({"messages": [{"from": "human", "value": "q"}, {"from": "gpt"}]}), missing("value")),
        (json!({"messages": [{"from": "human", "value": 3}]}), wrong_type("value", ValueType::Text)),
        (
            say(&[("human", "<image><image>"), ("gpt", "a")]),
            images(2, 0, Some(NoPictures::NoKey { column: "images".to_owned(), other: None })),
        ),
        (say(&[("human", "<video>"), ("gpt", "a")]), SkipReason::OtherMedia { placeholder: "<video>" }),
    ];
    let good = say(&[("human", "q"), ("gpt", "a")]);
    for (bad, expected) in cases {
        let records = json!([good, bad, good]).to_string();
        let (_dir, rows) = read(&sharegpt(), "data.json", records.as_bytes());
        assert!(rows[0].is_ok() && rows[2].is_ok(), "{bad}");
        let skipped = rows[1].as_ref().unwrap_err();
        assert_eq!(skipped.reason, expected, "{bad}");
        assert_eq!(skipped.origin.to_string(), "data.json[1]");
    }
}

#[test]
fn faults_of_the_other_formats_are_named_too() {
    let alpaca = json!({"columns": {"prompt": "q", "response": "a", "history": "h", "tools": "t"}});
    assert_eq!(reason(&alpaca, json!({"q": "q"})), missing("a"));
    assert_eq!(reason(&alpaca, json!({"q": "q", "a": 3})), wrong_type("a", ValueType::Text));
    assert_eq!(reason(&alpaca, json!({"q": ["q"], "a": "a"})), wrong_type("q", ValueType::Text));
    let pairs = ValueType::TextPairs;
    assert_eq!(reason(&alpaca, json!({"q": "q", "a": "a", "h": [["q", "a", "q"]]})), wrong_type("h", pairs));
    assert_eq!(reason(&alpaca, json!({"q": "q", "a": "a", "h": ["q"]})), wrong_type("h", pairs));
    let openai = json!({"formatting": "openai"});
    let call = |call: Value| json!({"conversations": [{"from": "gpt", "value": "", "tool_calls": [call]}]});
    assert_eq!(reason(&openai, call(json!({}))), missing("function"));
    assert_eq!(reason(&openai, call(json!("f()"))), wrong_type("tool_calls", ValueType::Objects));
}

#[test]
fn a_missing_picture_is_named() {
    let mut record = say(&[("human", "<image>"), ("gpt", "a")]);
    record["images"] = json!("gone.png");
    let message = reason(&sharegpt(), record).to_string();
    assert!(message.contains("image gone.png is neither in"), "{message}");
}

#[test]
fn without_system_tag_a_system_turn_is_an_unknown_role() {
    let mut entry = sharegpt();
    entry["tags"] = json!({"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"});
    let found = reason(&entry, say(&[("system", "S"), ("human", "q"), ("gpt", "a")]));
    assert_eq!(found, SkipReason::NoSystemTag { turn: 0 });
    assert!(found.to_string().contains("\"system_tag\": \"system\""));
}

#[test]
fn a_wrong_number_of_pictures_says_why() {
    let with = |key: &str, value: Value, text: &str| {
        let mut record = say(&[("human", text), ("gpt", "a")]);
        record[key] = value;
        record
    };
    let key = |name: &str| Some(name.to_owned());
    let undeclared = json!({"formatting": "sharegpt", "columns": {"messages": "messages"}});
    let one = || json!(["wide.png"]);
    let cases = [
        (
            &undeclared,
            with("images", one(), "<image>"),
            images(1, 0, Some(NoPictures::NoColumn { other: key("images") })),
        ),
        (&undeclared, with("id", json!(3), "<image>"), images(1, 0, Some(NoPictures::NoColumn { other: None }))),
        (
            &sharegpt(),
            with("image", one(), "<image>"),
            images(1, 0, Some(NoPictures::NoKey { column: "images".to_owned(), other: key("image") })),
        ),
        (
            &sharegpt(),
            with("images", json!([]), "<image>"),
            images(1, 0, Some(NoPictures::Empty { column: "images".to_owned() })),
        ),
        (
            &sharegpt(),
            with("images", json!([null, ""]), "<image>"),
            images(1, 0, Some(NoPictures::Empty { column: "images".to_owned() })),
        ),
        (&sharegpt(), with("images", one(), "No picture"), images(0, 1, None)),
    ];
    for (entry, record, expected) in cases {
        assert_eq!(reason(entry, record.clone()), expected, "{record}");
    }
    let (_dir, rows) =
        read(&sharegpt(), "data.json", json!([with("images", json!([""]), "Hello")]).to_string().as_bytes());
    assert!(rows[0].as_ref().unwrap().images.is_empty());
}

#[test]
fn a_list_as_python_prints_it_is_told_from_a_path() {
    let mut record = say(&[("human", "<image>"), ("gpt", "a")]);
    record["images"] = json!("['wide.png']");
    assert_eq!(reason(&sharegpt(), record), wrong_type("images", ValueType::PathOrPaths));
}

fn in_parts(parts: Value, images: Value) -> Value {
    json!({"messages": [{"from": "human", "value": parts}, {"from": "gpt", "value": [{"type": "text", "text": "a"}]}],
           "images": images})
}

/// Every way to write parts, as the text and the pictures that they are.
#[test]
fn parts_become_text_and_pictures() {
    let cases = [
        (json!([{"type": "image"}, {"type": "text", "text": "q"}]), json!(["wide.png"]), "<image>q", vec!["wide.png"]),
        (
            json!([{"type": "image", "image": "wide.png"}, {"type": "text", "text": "q"}]),
            json!([]),
            "<image>q",
            vec!["wide.png"],
        ),
        (
            json!([{"type": "text", "text": "A "}, {"type": "image_url", "image_url": {"url": "tall.png"}}, " B"]),
            json!([]),
            "A <image> B",
            vec!["tall.png"],
        ),
        (
            json!([{"type": "image_url", "image_url": "icon.png"}, {"image": "tall.png"}, {"text": "q"}]),
            json!([]),
            "<image><image>q",
            vec!["icon.png", "tall.png"],
        ),
        // Those of the column fill the gaps; a table has every key in every part.
        (
            json!([
                {"type": "image", "text": null, "image": null},
                {"type": "image", "text": null, "image": "tall.png"},
                {"type": "text", "text": "<image>q", "image": null}
            ]),
            json!(["wide.png", "icon.png"]),
            "<image><image><image>q",
            vec!["wide.png", "tall.png", "icon.png"],
        ),
        (json!([]), json!([]), "", vec![]),
    ];
    for (parts, images, text, names) in cases {
        let record = in_parts(parts, images);
        for (file, entry) in [("data.json", sharegpt()), ("data.csv", sharegpt())] {
            let bytes = match file {
                "data.csv" => {
                    let cell = |value: &Value| value.to_string().replace('"', "\"\"");
                    format!("messages,images\n\"{}\",\"{}\"\n", cell(&record["messages"]), cell(&record["images"]))
                }
                _ => json!([record]).to_string(),
            };
            let (_dir, rows) = read(&entry, file, bytes.as_bytes());
            let sample = rows[0].as_ref().unwrap();
            let found: Vec<_> = sample.images.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
            assert_eq!((sample.messages[0].content.as_str(), found), (text, names.clone()), "{record}");
            assert_eq!(sample.messages[1].content, "a");
        }
    }
}

#[test]
fn parts_that_cannot_be_learned_are_named() {
    let parts = |parts: Value| reason(&sharegpt(), in_parts(parts, json!([])));
    assert_eq!(parts(json!([{"type": "video", "video": "a.mp4"}])), SkipReason::OtherMedia { placeholder: "<video>" });
    assert_eq!(parts(json!([{"type": "input_audio"}])), SkipReason::OtherMedia { placeholder: "<audio>" });
    assert_eq!(parts(json!([{"type": "tool_use"}])), SkipReason::UnknownPart { kind: "tool_use".to_owned() });
    assert_eq!(parts(json!([7])), wrong_type("value", ValueType::TextOrParts));
    assert_eq!(
        parts(json!([{"type": "image"}])),
        images(1, 0, Some(NoPictures::Empty { column: "images".to_owned() }))
    );
    let record = json!({"messages": [
        {"from": "system", "value": [{"type": "image", "image": "wide.png"}]},
        {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
    ]});
    assert_eq!(reason(&sharegpt(), record), wrong_type("value", ValueType::Text));
}

/// A list in a CSV file is the text of it.
#[test]
fn lists_may_be_text() {
    let entry = json!({"columns": {"prompt": "q", "response": "a", "images": "i", "history": "h"}});
    let table = "q,a,i,h\n<image><image>,b,\"[\"\"wide.png\"\", \"\"icon.png\"\"]\",\"[[\"\"c\"\", \"\"d\"\"]]\"\n<image>,b,wide.png,\n";
    let (_dir, rows) = read(&entry, "data.csv", table.as_bytes());
    let samples: Vec<_> = rows.iter().map(|row| row.as_ref().unwrap()).collect();
    assert_eq!((samples[0].images.len(), samples[0].messages.len()), (2, 4));
    assert_eq!((samples[1].images.len(), samples[1].messages.len()), (1, 2));
}
