//! Boxes over a picture.

use tunebook_commands::Lang;
use tunebook_commands::localized;
use tunebook_commands::text::listed;
use tunebook_engine::report::DrawnBox;
use tunebook_engine::report::DrawnPicture;

use super::escape::escape;
use super::picture::under;

/// A picture is shown no larger.
const LARGEST: f64 = 420.0;
/// Of the labels, one after the other.
const COLOURS: [&str; 6] = ["#e6194b", "#4363d8", "#3cb44b", "#f58231", "#911eb4", "#008080"];

/// Pictures with the boxes of an answer, and in dashes those that were expected.
pub fn boxed(pictures: &[DrawnPicture], lang: Lang) -> String {
    if pictures.is_empty() {
        return String::new();
    }
    let figures: String = pictures.iter().map(|picture| figure(picture, lang)).collect();
    format!("<div style=\"display:flex;gap:12px;flex-wrap:wrap\">{figures}</div>")
}

fn figure(picture: &DrawnPicture, lang: Lang) -> String {
    let DrawnPicture { path, width, height, boxes, expected } = picture;
    let scale = (LARGEST / f64::from(*width.max(height)).max(1.0)).min(1.0);
    let shown = [*width, *height].map(|side| (f64::from(side) * scale).round().max(1.0));
    let caption = match expected.is_empty() {
        true => String::new(),
        false => localized!(
            lang,
            "<figcaption style=\"opacity:.7\">predicted, and dashed what was expected</figcaption>",
            "<figcaption style=\"opacity:.7\">实线为预测，虚线为标准答案</figcaption>"
        ),
    };
    let over = overlay(*width, *height, shown, &[(boxes, ""), (expected, " stroke-dasharray=\"5 4\"")]);
    let about = listed(boxes, lang);
    format!("<figure style=\"margin:0\">{}{caption}</figure>", under(path, shown, &over, &about, lang))
}

/// Boxes of a picture of `width` × `height` pixels as they lie on it in the size `shown`, as elements of SVG, each kind with
/// the attributes of its lines. Boxes of one label have one colour. Empty without boxes.
pub(super) fn overlay(width: u32, height: u32, shown: [f64; 2], kinds: &[(&[DrawnBox], &str)]) -> String {
    let mut labels: Vec<Option<&str>> = Vec::new();
    let mut drawn = String::new();
    let [shown_w, shown_h] = shown;
    let [scale_x, scale_y] = [shown_w / f64::from(width.max(1)), shown_h / f64::from(height.max(1))];
    for (boxes, attributes) in kinds {
        for DrawnBox { label, corners: [x1, y1, x2, y2] } in *boxes {
            let label = label.as_deref();
            let known = labels.iter().position(|known| *known == label);
            let colour = COLOURS[known.unwrap_or(labels.len()) % COLOURS.len()];
            if known.is_none() {
                labels.push(label);
            }
            let [left, right] = [*x1.min(x2), *x1.max(x2)].map(|x| x as f64 * scale_x);
            let [top, bottom] = [*y1.min(y2), *y1.max(y2)].map(|y| y as f64 * scale_y);
            let rect = |stroke: &str| {
                let (width, height) = (right - left, bottom - top);
                format!(
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"none\" {stroke}/>"
                )
            };
            // White around a line that is not broken, so that it is seen on its own colour too.
            if attributes.is_empty() {
                drawn += &rect("stroke=\"#fff\" stroke-width=\"4\" stroke-opacity=\".8\"");
            }
            drawn += &rect(&format!("stroke=\"{colour}\" stroke-width=\"2\"{attributes}"));
            if let Some(label) = label.filter(|label| !label.is_empty()) {
                // Above the box, or inside where it begins at the edge.
                let (x, y) = (left.max(0.0) + 2.0, if top < 15.0 { top.max(0.0) + 14.0 } else { top - 4.0 });
                drawn += &format!(
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"13\" font-family=\"sans-serif\" fill=\"{colour}\" \
                     stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                    escape(label)
                );
            }
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::drawing::drawn_in;

    fn drawn(label: Option<&str>, corners: [i64; 4]) -> DrawnBox {
        DrawnBox { label: label.map(str::to_string), corners }
    }

    #[test]
    fn boxes_lie_where_they_lie_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::RgbImage::new(840, 420).save(&path).unwrap();
        let boxes = vec![drawn(Some("<cat>"), [100, 40, 300, 200]), drawn(Some("dog"), [0, 0, 839, 419])];
        let expected = vec![drawn(Some("<cat>"), [102, 42, 298, 202])];
        let gone = DrawnPicture {
            path: folder.path().join("b.png"),
            width: 8,
            height: 8,
            boxes: vec![drawn(None, [0, 0, 4, 4])],
            expected: Vec::new(),
        };
        let html = boxed(&[DrawnPicture { path, width: 840, height: 420, boxes, expected }, gone], Lang::En);
        assert!(html.contains("b.png cannot be found") && html.contains("dashed what was expected"), "{html}");
        assert!(html.contains("a.png: &lt;cat&gt; [100, 40, 300, 200], dog [0, 0, 839, 419]\""), "{html}");
        let html = drawn_in(&html);
        assert!(
            html.contains("viewBox=\"0 0 420 210\"") && html.contains("href=\"data:image/jpeg;base64,/9j/"),
            "{html}"
        );
        let cat = "<rect x=\"50.0\" y=\"20.0\" width=\"100.0\" height=\"80.0\" fill=\"none\" stroke=\"#e6194b\"";
        assert!(html.contains(cat), "{html}");
        assert!(
            html.contains(
                "<rect x=\"0.0\" y=\"0.0\" width=\"419.5\" height=\"209.5\" fill=\"none\" stroke=\"#4363d8\""
            )
        );
        // Expected, and of the same colour.
        assert!(html.contains("<rect x=\"51.0\" y=\"21.0\" width=\"98.0\" height=\"80.0\" fill=\"none\" stroke=\"#e6194b\" stroke-width=\"2\" stroke-dasharray"));
        assert!(html.contains(">&lt;cat&gt;</text>"));
    }

    #[test]
    fn corners_that_are_far_away_or_reversed_are_drawn() {
        let boxes = [drawn(None, [i64::MAX, i64::MIN, 0, 5]), drawn(None, [9, 9, 3, 3])];
        let svg = overlay(10, 10, [10.0, 10.0], &[(&boxes, "")]);
        assert!(svg.contains("x=\"3.0\" y=\"3.0\" width=\"6.0\" height=\"6.0\""), "{svg}");
        assert!(!svg.contains("NaN") && overlay(0, 0, [0.0; 2], &[]).is_empty());
    }
}
