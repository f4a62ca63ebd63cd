//! Boxes in data come into the model's own scale as Qwen's notebook converts them, and are drawn where they belong
//! (`reference/boxes.py`).

use std::path::Path;

use serde_json::Value;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_engine::Split;
use tunebook_engine::report::SampleReport;

use crate::fixtures::Family;
use crate::recipe::carry_out;

const SCALES: [&str; 4] = ["pixels", "resized", "norm1000", "norm1"];

fn expected(family: Family) -> Value {
    serde_json::from_slice(&std::fs::read(family.fixture("boxes/expected.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// The samples of a data set that is written in one scale and read as in another.
fn samples(family: Family, written: &str, boxes: &str) -> Vec<SampleReport> {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = Session::default();
    let mut settings = session.settings().clone();
    settings.set("dataset_dir", family.fixture("boxes").to_str().unwrap()).unwrap();
    settings.set("boxes", boxes).unwrap();
    session.set(settings);
    session.load(&family.fixture("tiny"), &cx).unwrap();
    session.data(&[written.to_string()], &cx).unwrap();
    (0..2).map(|index| session.sample(Split::Train, index).unwrap()).collect()
}

fn text(sample: &SampleReport) -> String {
    sample.tokens.iter().map(|token| token.text.as_str()).collect()
}

#[test]
fn the_model_reads_what_qwens_notebook_writes() {
    for family in Family::ALL {
        for (sample, expected) in
            samples(family, "pixels", "pixels").iter().zip(expected(family)["samples"].as_array().unwrap())
        {
            for answer in expected["answers"].as_array().unwrap() {
                let answer = answer.as_str().unwrap();
                assert!(text(sample).contains(answer), "{family:?}: {} has not {answer}", text(sample));
            }
        }
    }
}

/// Within the rounding of the scales, which is less than a pixel of the file where it is not shrunk.
#[test]
fn boxes_of_every_scale_are_drawn_where_they_belong() {
    for family in Family::ALL {
        let expected = expected(family);
        let own = expected["own"].as_str().unwrap();
        for written in SCALES {
            for (sample, expected) in
                samples(family, written, written).iter().zip(expected["samples"].as_array().unwrap())
            {
                let (size, resized) = (numbers(&expected["size"]), numbers(&expected["resized"]));
                // A step of a scale, in pixels of the file.
                let step = |scale: &str, axis: usize| match scale {
                    "resized" => size[axis] / resized[axis],
                    "norm1000" => size[axis] / 1000.0,
                    _ => 0.0,
                };
                let [picture] = &sample.pictures[..] else { panic!("not one picture") };
                assert_eq!((f64::from(picture.width), f64::from(picture.height)), (size[0], size[1]));
                // Each stands in the sample twice.
                let boxes =
                    || expected["corners"].as_array().unwrap().iter().zip(expected["labels"].as_array().unwrap());
                assert_eq!(picture.boxes.len(), 2 * boxes().count());
                for (drawn, (corners, label)) in picture.boxes.iter().zip(boxes().chain(boxes())) {
                    assert_eq!(drawn.label.as_deref(), label.as_str());
                    for (index, (found, corner)) in drawn.corners.iter().zip(numbers(corners)).enumerate() {
                        let axis = index % 2;
                        let within = step(written, axis) + step(own, axis) + 0.5;
                        let off = (*found as f64 - corner).abs();
                        assert!(off <= within, "{family:?}, {written}: {found} is not {corner} within {within}");
                    }
                }
            }
        }
    }
}

/// In Qwen2.5-VL's own scale, which of 640 pixels makes 644, each corner is the pixel of the file where the colour begins or
/// ends.
#[test]
fn boxes_lie_on_the_pixels_of_what_they_are_of() {
    let family = Family::Qwen2_5;
    let sample = &samples(family, "pixels", "pixels")[0];
    let expected = expected(family);
    let colours = expected["samples"][0]["colours"].as_array().unwrap();
    let picture = tunebook_data::read_picture(&sample.pictures[0].path).unwrap().rgb;
    for (drawn, colour) in sample.pictures[0].boxes.iter().zip(colours) {
        let is_of = |x: i64, y: i64| numbers(colour) == picture.get_pixel(x as u32, y as u32).0.map(f64::from);
        let [x1, y1, x2, y2] = drawn.corners;
        assert!(is_of(x1 + 1, y1 + 1) && is_of(x2 - 2, y2 - 2), "{drawn:?}");
        assert!(x1 < 2 || !is_of(x1 - 2, y1 + 1), "{drawn:?}");
        assert!(y1 < 2 || !is_of(x1 + 1, y1 - 2), "{drawn:?}");
        assert!(x2 + 1 >= 640 || !is_of(x2 + 1, y1 + 1), "{drawn:?}");
        assert!(y2 + 1 >= 480 || !is_of(x1 + 1, y2 + 1), "{drawn:?}");
    }
}

#[test]
fn data_says_in_which_scale_boxes_are_and_which_would_fit() {
    let host = Host::start(Lang::En).unwrap();
    let family = Family::Qwen2_5;
    carry_out(&host, &format!("load {}", family.fixture("tiny").display())).unwrap();
    let data = |set: &str, boxes: &str| {
        let folder = family.fixture("boxes");
        let line = format!("data {set} dataset_dir={} boxes={boxes}", folder.display());
        carry_out(&host, &line).unwrap().join("\n").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (set, boxes, parts) in [
        (
            "pixels",
            "pixels",
            &["12 boxes in 2 samples, converted from pixels of the file to pixels of the resized image"][..],
        ),
        (
            "resized",
            "model",
            &["12 boxes in 2 samples, taken to be in pixels of the resized image, as the model writes them"],
        ),
        // 479 of 480 pixels are more than the 476 that the model sees.
        (
            "pixels",
            "model",
            &[
                "6 boxes would lie outside of the image, the first in pixels.json[0]",
                "boxes=pixels (pixels of the file)",
            ],
        ),
        ("norm1", "model", &["no coordinate is above 1", "set boxes=norm1"]),
        ("pixels", "norm1", &["12 boxes would lie outside of the image", "boxes=pixels"]),
    ] {
        let said = data(set, boxes);
        assert!(parts.iter().all(|part| said.contains(part)), "{set} as {boxes}: {said}");
    }
    let said = data("resized", "model");
    assert!(!said.contains("warning"), "{said}");
    let sample = carry_out(&host, "sample 0").unwrap().join("\n");
    assert!(sample.contains("boxes in the 640 × 480 pixels of the file: red [37, 51, 203, 149]"), "{sample}");
}

/// An adapter that has learned the boxes of one picture by heart answers with them.
#[test]
fn answers_have_their_boxes_in_pixels_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let family = Family::Qwen2_5;
    let picture = family.fixture("boxes/field.png");
    std::fs::copy(&picture, folder.path().join("field.png")).unwrap();
    let answer = "<|object_ref_start|>red<|object_ref_end|><|box_start|>(40,50),(200,150)<|box_end|>";
    write("a.json", &format!(r#"[{{"instruction": "<image>Where?", "output": "{answer}", "images": ["field.png"]}}]"#));
    write(
        "dataset_info.json",
        r#"{"a": {"file_name": "a.json", "columns": {"prompt": "instruction", "response": "output", "images": "images"}}}"#,
    );
    let host = Host::start(Lang::En).unwrap();
    let at = |path: &Path| path.display().to_string();
    for line in [
        format!("load {}", at(&family.fixture("tiny"))),
        format!("data a dataset_dir={} boxes=pixels", at(folder.path())),
        "lora rank=16".to_string(),
        "train 60 lr=1e-2 batch=1 accum=1 epochs=60".to_string(),
        "set do_sample=false max_new_tokens=40".to_string(),
    ] {
        carry_out(&host, &line).unwrap();
    }
    let path = folder.path().join("field.png");
    let on_picture = format!("boxes on {} (640 × 480): red [40, 50, 200, 150]", at(&path));
    let said = |line: &str| carry_out(&host, line).unwrap().join("\n").split_whitespace().collect::<Vec<_>>().join(" ");
    let chat = said(&format!("chat image={} Where?", at(&path)));
    assert!(chat.contains(&on_picture), "{chat}");
    let predict = said("predict");
    assert!(predict.contains(&format!("{on_picture}; expected: red [40, 50, 200, 150]")), "{predict}");
}
