//! What an answer rests on in its pictures as HTML: a heat map over each of them, all in the page itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tunebook_commands::Lang;
use tunebook_commands::lang::localized;
use tunebook_commands::text::about_regions;
use tunebook_commands::text::regions_named;
use tunebook_commands::text::regions_title;
use tunebook_engine::output::heat_map;
use tunebook_engine::output::png;
use tunebook_engine::report::PictureRegions;

use super::escape::escape;
use super::picture::under;

/// A picture is shown no larger, in pixels.
const LARGEST: f64 = 420.0;

/// The pictures under their regions, and what the colours mean.
pub(super) fn regions(pictures: &[PictureRegions], lang: Lang) -> String {
    let strongest = heat_map::strongest(pictures);
    let figures: String = pictures.iter().map(|picture| figure(picture, strongest, lang)).collect();
    let colour =
        |rgb: &str, text: &str| format!("<span style=\"background:rgba({rgb},.6);padding:0 .4em\">{text}</span>");
    let speaks_for = colour("255,110,0", localized("for the answer", "支持该回答").in_lang(lang));
    let against = colour("0,90,255", localized("against it", "反对该回答").in_lang(lang));
    format!(
        "<div style=\"display:flex;gap:12px;flex-wrap:wrap\">{figures}</div><p>{speaks_for} {against}</p>\
         <p style=\"opacity:.7\">{}</p>",
        escape(about_regions(lang))
    )
}

fn figure(picture: &PictureRegions, strongest: f32, lang: Lang) -> String {
    let (width, height) = (f64::from(picture.size.0), f64::from(picture.size.1));
    // A small picture is enlarged, so that its regions can be told apart.
    let scale = LARGEST / width.max(height).max(1.0);
    let shown = [width * scale, height * scale];
    let over = png(&heat_map::overlay(picture, strongest)).map(|png| {
        let [width, height] = shown;
        format!(
            "<image width=\"{width:.0}\" height=\"{height:.0}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
            STANDARD.encode(png)
        )
    });
    format!(
        "<figure style=\"margin:0\">{}<figcaption style=\"opacity:.7\">{}</figcaption></figure>",
        under(&picture.path, shown, &over.unwrap_or_default(), &regions_named(picture, lang), lang),
        escape(&regions_title(picture, lang))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::drawing::drawn_in;

    #[test]
    fn a_heat_map_lies_over_its_picture_and_says_what_it_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::RgbImage::new(56, 28).save(&path).unwrap();
        let picture = PictureRegions { path, size: (56, 28), rows: 1, columns: 2, relevance: vec![0.25, -0.5] };
        let gone = PictureRegions { path: folder.path().join("gone.png"), ..picture.clone() };
        let html = regions(&[picture, gone], Lang::En);
        assert!(
            html.contains("a.png: the strongest regions: x 28–56, y 0–28: -0.500; x 0–28, y 0–28: +0.250\""),
            "{html}"
        );
        assert!(html.contains("gone.png cannot be found"));
        let svg = drawn_in(&html);
        assert!(svg.contains("viewBox=\"0 0 420 210\"") && svg.contains("data:image/png;base64,iVBOR"), "{svg}");
        assert!(regions(&[], Lang::Zh).contains("支持该回答"));
    }
}
