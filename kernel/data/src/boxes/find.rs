//! Boxes in a text.

use std::ops::Range;

use memchr::memmem;

use crate::sample::IMAGE_PLACEHOLDER;

/// A box as a text has it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundBox {
    /// What it is of, if the text says so: `label` or `text_content` beside `bbox_2d`, or what `<|object_ref_start|>` and
    /// `<|object_ref_end|>` enclose in front of it.
    pub label: Option<String>,
    /// x1, y1, x2, y2, as they are written.
    pub coordinates: [f64; 4],
    /// Where in the text each of them stands.
    pub spans: [Range<usize>; 4],
}

const KEY: &str = "\"bbox_2d\"";
const LABELS: [&str; 2] = ["\"label\"", "\"text_content\""];
/// A label is no farther from its box, in bytes.
const FARTHEST: usize = 1024;
const BOX_START: &str = "<|box_start|>";
const REF_START: &str = "<|object_ref_start|>";
const REF_END: &str = "<|object_ref_end|>";

/// The boxes of a text, in order. A text that breaks off in the middle of a box has those before it.
pub fn find_boxes(text: &str) -> Vec<FoundBox> {
    let in_json = memmem::find_iter(text.as_bytes(), KEY).filter_map(|at| of_json(text, at));
    let after = |mark: &'static str| memmem::find_iter(text.as_bytes(), mark).map(move |at| at + mark.len());
    // A mark of the box may be left out behind what it is of.
    let marked = after(BOX_START).chain(after(REF_END)).filter_map(|at| of_marks(text, at));
    let mut found: Vec<_> = in_json.chain(marked).collect();
    found.sort_by_key(|found| found.spans[0].start);
    found
}

/// The boxes of a text in which `<image>` stands for each picture, with the number of the picture that each is on: the last
/// one before it, or the first where none is.
pub fn on_images(text: &str) -> Vec<(usize, FoundBox)> {
    let placeholders: Vec<_> = memmem::find_iter(text.as_bytes(), IMAGE_PLACEHOLDER).collect();
    let image = |found: &FoundBox| placeholders.partition_point(|at| *at < found.spans[0].start).saturating_sub(1);
    find_boxes(text).into_iter().map(|found| (image(&found), found)).collect()
}

/// `"bbox_2d": [x1, y1, x2, y2]`, with the key at `at`.
fn of_json(text: &str, at: usize) -> Option<FoundBox> {
    let mut reader = Reader { text, at: at + KEY.len() };
    reader.skip(":")?;
    let (coordinates, spans) = reader.coordinates(["[", ",", ",", ",", "]"])?;
    let before = last_of(&text[..at]).rsplit('{').next().unwrap_or_default().len();
    let behind = first_of(&text[reader.at..]).split('}').next().unwrap_or_default().len();
    let object = &text[at - before..reader.at + behind];
    let label = LABELS.iter().find_map(|key| string_behind(object, key));
    Some(FoundBox { label, coordinates, spans })
}

/// `(x1,y1),(x2,y2)` at `at`, behind a mark.
fn of_marks(text: &str, at: usize) -> Option<FoundBox> {
    let mut reader = Reader { text, at };
    let (coordinates, spans) = reader.coordinates(["(", ",", "),(", ",", ")"])?;
    let before = last_of(&text[..at]);
    let before = before.strip_suffix(BOX_START).unwrap_or(before);
    let label = before.trim_end().strip_suffix(REF_END).and_then(|before| Some(before.rsplit_once(REF_START)?.1));
    Some(FoundBox { label: label.map(str::to_owned), coordinates, spans })
}

/// The JSON string that is the value of `key`.
fn string_behind(object: &str, key: &str) -> Option<String> {
    let mut reader = Reader { text: object, at: object.find(key)? + key.len() };
    reader.skip(":")?;
    reader.blanks();
    let mut values = serde_json::Deserializer::from_str(&object[reader.at..]).into_iter::<String>();
    values.next()?.ok()
}

/// The end of a text, in which a label is looked for: looking through all of it for each box would take too long where a
/// text has thousands of them.
fn last_of(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(FARTHEST))..]
}

/// The beginning of a text, for the same.
fn first_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(FARTHEST)]
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Goes past these characters, with blanks before each.
    fn skip(&mut self, expected: &str) -> Option<()> {
        for c in expected.chars() {
            self.blanks();
            self.text[self.at..].starts_with(c).then_some(())?;
            self.at += c.len_utf8();
        }
        Some(())
    }

    fn number(&mut self) -> Option<(f64, Range<usize>)> {
        self.blanks();
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !(c.is_ascii_digit() || ".-+eE".contains(c))).unwrap_or(rest.len());
        let value = rest[..length].parse().ok().filter(|value: &f64| value.is_finite())?;
        let span = self.at..self.at + length;
        self.at = span.end;
        Some((value, span))
    }

    /// Four numbers, with what stands before each and behind the last.
    fn coordinates(&mut self, between: [&str; 5]) -> Option<([f64; 4], [Range<usize>; 4])> {
        let (mut coordinates, mut spans) = ([0.0; 4], [0..0, 0..0, 0..0, 0..0]);
        for index in 0..4 {
            self.skip(between[index])?;
            (coordinates[index], spans[index]) = self.number()?;
        }
        self.skip(between[4])?;
        Some((coordinates, spans))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<(Option<String>, [f64; 4])> {
        find_boxes(text).into_iter().map(|found| (found.label, found.coordinates)).collect()
    }

    #[test]
    fn json_has_boxes_with_labels() {
        let text = "Two:\n```json\n[\n\t{\"bbox_2d\": [1, 2, 30, 40], \"label\": \"a \\\"cat\\\"\"},\n\
                    \t{\"label\": \"狗\", \"bbox_2d\" : [ 5.5,6,7 , 8 ]},\n\t{\"bbox_2d\": [1,2,3,4], \"text_content\": \"STOP\"},\n\
                    \t{\"bbox_2d\": [9, 9, 10, 10]}\n]\n```";
        let expected = [
            (Some("a \"cat\""), [1.0, 2.0, 30.0, 40.0]),
            (Some("狗"), [5.5, 6.0, 7.0, 8.0]),
            (Some("STOP"), [1.0, 2.0, 3.0, 4.0]),
            (None, [9.0, 9.0, 10.0, 10.0]),
        ];
        assert_eq!(seen(text), expected.map(|(label, box_)| (label.map(str::to_owned), box_)));
        let written: Vec<_> = find_boxes(text)[1].spans.iter().map(|span| &text[span.clone()]).collect();
        assert_eq!(written, ["5.5", "6", "7", "8"]);
    }

    #[test]
    fn marks_have_boxes_with_what_they_are_of() {
        let text = "<|object_ref_start|>the cat<|object_ref_end|><|box_start|>(1,2),(30, 40)<|box_end|> and \
                    <|box_start|>( 5, 6 ), (7, 8)<|box_end|>, <|object_ref_start|>狗<|object_ref_end|>(9,9),(10,10)";
        let expected = [
            (Some("the cat"), [1.0, 2.0, 30.0, 40.0]),
            (None, [5.0, 6.0, 7.0, 8.0]),
            (Some("狗"), [9.0, 9.0, 10.0, 10.0]),
        ];
        assert_eq!(seen(text), expected.map(|(label, box_)| (label.map(str::to_owned), box_)));
    }

    #[test]
    fn what_breaks_off_or_is_no_box_is_none() {
        for text in [
            "",
            "(1,2),(3,4)",
            "{\"bbox_2d\": [1, 2, 3",
            "{\"bbox_2d\": [1, 2, 3, 4",
            "{\"bbox_2d\": [1, 2, 3]}",
            "{\"bbox_2d\": [1, 2, 3, 4, 5]}",
            "{\"bbox_2d\": [1, 2, x, 4]}",
            "{\"bbox_2d\": [1e999, 2, 3, 4]}",
            "\"bbox_2d\"",
            "<|box_start|>(1,2),(3",
            "<|box_start|>é",
        ] {
            assert_eq!(seen(text), [], "{text}");
        }
        assert_eq!(seen("{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"c").len(), 1);
        assert_eq!(seen("\"bbox_2d\": [1, 2, 3, 4]").len(), 1);
    }

    #[test]
    fn a_long_text_takes_no_longer_for_each_box() {
        let many = 200_000;
        for (text, found) in [
            ("\"bbox_2d\": [1, 2, 3, 4] é", many),
            ("<|object_ref_end|><|box_start|>(1,2),(3,4) é", many),
            ("\"bbox_2d\": [", 0),
        ] {
            assert_eq!(find_boxes(&text.repeat(many)).len(), found, "{text}");
        }
    }

    #[test]
    fn a_box_is_on_the_last_picture_before_it() {
        let a_box = "<|box_start|>(1,2),(3,4)<|box_end|>";
        let images: Vec<_> = on_images(&format!("{a_box}<image>{a_box}<image><image>{a_box}{a_box}"))
            .into_iter()
            .map(|(image, _)| image)
            .collect();
        assert_eq!(images, [0, 0, 2, 2]);
    }
}
