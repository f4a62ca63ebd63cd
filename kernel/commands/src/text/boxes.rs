//! Boxes: what `data` found of them, and where they lie on pictures.

use tunebook_data::BoxScale;
use tunebook_engine::report::BoxReport;
use tunebook_engine::report::DrawnBox;
use tunebook_engine::report::DrawnPicture;

use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::printable::colourless;
use crate::quantities::BOX;
use crate::quantities::SAMPLE;
use crate::quantities::count;

/// Lines for the note of `data`: how many there are, in which scale, and what is wrong with them.
pub(super) fn found(report: &BoxReport, lang: Lang) -> String {
    let (boxes, samples) = (count(report.boxes, BOX, lang), count(report.samples, SAMPLE, lang));
    let [written, read] = [report.written, report.read].map(|scale| scale_name(scale, lang));
    let mut text = match report.written == report.read {
        true => localized!(
            lang,
            "\n{boxes} in {samples}, taken to be in {read}, as the model writes them",
            "\n{samples}中有 {boxes}，按{read}读取，与模型的写法相同"
        ),
        false => localized!(
            lang,
            "\n{boxes} in {samples}, converted from {written} to {read}, as the model writes them",
            "\n{samples}中有 {boxes}，已从{written}换算成{read}，即模型的写法"
        ),
    };
    if let Some(first) = &report.first_outside {
        let outside = count(report.outside, BOX, lang);
        text += &localized!(
            lang,
            "\nwarning: in {written}, {outside} would lie outside of the image, the first in {first}",
            "\n警告：按{written}，有 {outside}超出图片，第一个在 {first}"
        );
        text += &fitting(&report.fitting, lang);
    } else if report.written != BoxScale::Norm1 && report.fitting.contains(&BoxScale::Norm1) {
        text += localized(
            "\nwarning: no coordinate is above 1; if they are fractions of width and height, set boxes=norm1",
            "\n警告：所有坐标都不超过 1；如果是按宽高归一化的，请设 boxes=norm1",
        )
        .in_lang(lang);
    }
    if let Some(first) = &report.first_reversed {
        let reversed = count(report.reversed, BOX, lang);
        text += &localized!(
            lang,
            "\nwarning: {reversed} with x2 ≤ x1 or y2 ≤ y1, the first in {first}; a box is [x1, y1, x2, y2], not [x, y, \
             width, height]",
            "\n警告：有 {reversed}的 x2 ≤ x1 或 y2 ≤ y1，第一个在 {first}；边界框是 [x1, y1, x2, y2]，不是 [x, y, 宽, 高]"
        );
    }
    text
}

/// Which scale would fit.
fn fitting(scales: &[BoxScale], lang: Lang) -> String {
    if scales.is_empty() {
        return localized("; none of the scales fits all boxes", "；没有一种尺度适合所有边界框")
            .in_lang(lang)
            .to_string();
    }
    let one = |scale: &BoxScale| {
        let (value, name) = (setting(*scale), scale_name(*scale, lang));
        localized!(lang, "boxes={value} ({name})", "boxes={value}（{name}）")
    };
    let scales: Vec<_> = scales.iter().map(one).collect();
    let scales = scales.join(localized(" or ", "或 ").in_lang(lang));
    localized!(lang, "; all would lie within it with {scales}", "；设 {scales}则全部在图片内")
}

/// The value of the setting `boxes` that means a scale.
fn setting(scale: BoxScale) -> &'static str {
    match scale {
        BoxScale::Pixels => "pixels",
        BoxScale::Resized => "resized",
        BoxScale::Norm1000 => "norm1000",
        BoxScale::Norm1 => "norm1",
    }
}

fn scale_name(scale: BoxScale, lang: Lang) -> &'static str {
    match scale {
        BoxScale::Pixels => localized("pixels of the file", "原图像素"),
        BoxScale::Resized => localized("pixels of the resized image", "缩放后图片的像素"),
        BoxScale::Norm1000 => localized("thousandths", "千分位"),
        BoxScale::Norm1 => localized("fractions", "0~1 的比例"),
    }
    .in_lang(lang)
}

/// A line for each picture, with its boxes in pixels of its file.
pub(super) fn on_pictures(pictures: &[DrawnPicture], lang: Lang) -> Vec<String> {
    let line = |picture: &DrawnPicture| {
        let path = picture.path.display().to_string();
        let (path, width, height) = (colourless(&path), picture.width, picture.height);
        let mut text =
            localized!(lang, "boxes on {path} ({width} × {height}): ", "{path}（{width} × {height}）上的边界框：");
        text += &listed(&picture.boxes, lang);
        if !picture.expected.is_empty() {
            let expected = listed(&picture.expected, lang);
            text += &localized!(lang, "; expected: {expected}", "；标准答案：{expected}");
        }
        text
    };
    pictures.iter().map(line).collect()
}

/// `cat [1, 2, 30, 40], dog [5, 6, 7, 8]`
pub fn listed(boxes: &[DrawnBox], lang: Lang) -> String {
    if boxes.is_empty() {
        return localized("none", "无").in_lang(lang).to_string();
    }
    let one =
        |drawn: &DrawnBox| format!("{}{:?}", label(drawn).map(|label| label + " ").unwrap_or_default(), drawn.corners);
    boxes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a box is of, in one line.
fn label(drawn: &DrawnBox) -> Option<String> {
    let label = drawn.label.as_ref()?;
    Some(colourless(&label.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned())
}

#[cfg(test)]
mod tests {
    use tunebook_engine::settings::declaration;

    use super::*;

    fn report() -> BoxReport {
        BoxReport {
            boxes: 12,
            samples: 3,
            written: BoxScale::Resized,
            read: BoxScale::Resized,
            outside: 0,
            first_outside: None,
            reversed: 0,
            first_reversed: None,
            fitting: vec![BoxScale::Pixels, BoxScale::Resized],
        }
    }

    #[test]
    fn every_scale_is_a_value_of_the_setting() {
        let choices = declaration("boxes").unwrap().choices();
        assert!(BoxScale::ALL.iter().all(|scale| choices.contains(&setting(*scale))));
    }

    #[test]
    fn boxes_that_fit_are_counted() {
        let expected = "\n12 boxes in 3 samples, taken to be in pixels of the resized image, as the model writes them";
        assert_eq!(found(&report(), Lang::En), expected);
        let converted = found(&BoxReport { written: BoxScale::Pixels, ..report() }, Lang::En);
        assert!(converted.contains("converted from pixels of the file to pixels of the resized image"), "{converted}");
    }

    #[test]
    fn boxes_that_do_not_fit_are_answered_with_the_scale_that_does() {
        let outside = BoxReport { outside: 5, first_outside: Some("a.json[3]".to_string()), ..report() };
        let text = found(&BoxReport { fitting: vec![BoxScale::Pixels], ..outside.clone() }, Lang::En);
        assert!(text.contains("5 boxes would lie outside of the image, the first in a.json[3]"), "{text}");
        assert!(text.ends_with("all would lie within it with boxes=pixels (pixels of the file)"), "{text}");
        let text = found(&BoxReport { fitting: Vec::new(), ..outside }, Lang::En);
        assert!(text.ends_with("none of the scales fits all boxes"), "{text}");
        let text = found(&BoxReport { fitting: BoxScale::ALL.to_vec(), ..report() }, Lang::En);
        assert!(text.contains("set boxes=norm1"), "{text}");
        let text = found(&BoxReport { reversed: 1, first_reversed: Some("b[0]".to_string()), ..report() }, Lang::En);
        assert!(text.contains("1 box with x2 ≤ x1 or y2 ≤ y1, the first in b[0]; a box is [x1, y1, x2, y2]"), "{text}");
    }

    #[test]
    fn boxes_on_a_picture_are_in_pixels_of_its_file() {
        let drawn = |label: Option<&str>, corners| DrawnBox { label: label.map(str::to_string), corners };
        let picture = DrawnPicture {
            path: "a.png".into(),
            width: 640,
            height: 480,
            boxes: vec![drawn(Some("a\n\u{1b}[31mcat"), [1, 2, 30, 40]), drawn(None, [5, 6, 7, 8])],
            expected: vec![drawn(Some("dog"), [0, 0, 9, 9])],
        };
        let text = on_pictures(&[picture], Lang::En).join("\n");
        assert!(text.starts_with("boxes on a.png (640 × 480): a "), "{text}");
        assert!(text.ends_with("cat [1, 2, 30, 40], [5, 6, 7, 8]; expected: dog [0, 0, 9, 9]"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
