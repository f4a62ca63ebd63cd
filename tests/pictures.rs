//! What is known of a picture is forgotten when its file or the settings change.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;

use crate::fixtures::fixture;

/// A session on the tiny checkpoint and the data set `folder`, `set`, of one question about the picture `a.png`.
fn session(folder: &Path, cx: &Context) -> Session {
    let entry = json!({"set": {
        "file_name": "set.json", "formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"},
    }});
    fs::write(folder.join("dataset_info.json"), entry.to_string()).unwrap();
    let sample = json!([{"messages": [{"from": "human", "value": "<image>What is it?"}, {"from": "gpt", "value": "It."}],
        "images": ["a.png"]}]);
    fs::write(folder.join("set.json"), sample.to_string()).unwrap();
    let mut session = Session::default();
    set(&mut session, "dataset_dir", folder.to_str().unwrap());
    session.load(&fixture("tiny"), cx).unwrap();
    session
}

fn set(session: &mut Session, key: &str, value: &str) {
    let mut settings = session.settings().clone();
    settings.set(key, value).unwrap();
    session.set(settings);
}

fn loss(session: &mut Session, cx: &Context) -> f64 {
    session.evaluate(&["set".to_string()], None, None, cx).unwrap().loss
}

#[test]
fn a_picture_replaced_under_the_same_time_is_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let picture = folder.path().join("a.png");
    let put = |name: &str| fs::copy(fixture("pictures").join(name), &picture).unwrap();

    // Both have the same size in pixels.
    put("square.png");
    let written = fs::metadata(&picture).unwrap().modified().unwrap();
    let mut session = session(folder.path(), &cx);
    let of_the_first = loss(&mut session, &cx);
    // The clock of a file system ticks a few times in a hundredth of a second.
    thread::sleep(Duration::from_millis(20));
    put("creature_4.png");
    File::options().write(true).open(&picture).unwrap().set_modified(written).unwrap();
    let of_the_second = loss(&mut session, &cx);

    let expected = loss(&mut self::session(folder.path(), &cx), &cx);
    assert_eq!(of_the_second, expected);
    assert_ne!(of_the_first, expected);
}

#[test]
fn a_picture_is_looked_at_again_under_other_limits_of_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    fs::copy(fixture("pictures/wide.png"), folder.path().join("a.png")).unwrap();
    let mut session = session(folder.path(), &cx);
    let before = loss(&mut session, &cx);
    // Of 140 × 84 pixels, 135 × 81 are left, which are as many patches.
    let limit = ("image_max_pixels", "11000");
    set(&mut session, limit.0, limit.1);
    let found = loss(&mut session, &cx);

    let mut other = self::session(folder.path(), &cx);
    set(&mut other, limit.0, limit.1);
    assert_eq!(found, loss(&mut other, &cx));
    assert_ne!(found, before);
}
