//! Drawings as pictures: notebooks that are not trusted show no SVG that stands in HTML, but they show it as an image.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tunebook_commands::Lang;
use tunebook_commands::lang::localized;

/// An SVG as an image of the width of the page, or of its own where that is less. `alt` is escaped already.
pub(super) fn drawing(svg: &str, alt: &str, style: &str) -> String {
    let data = STANDARD.encode(svg);
    format!("<img src=\"data:image/svg+xml;base64,{data}\" alt=\"{alt}\" style=\"max-width:100%;{style}\"/>")
}

/// An SVG of a Rust cell. As a part of the page notebooks that are not trusted would lose it, and beside text alone nbconvert asks
/// Inkscape for it.
pub fn foreign_drawing(svg: &str, lang: Lang) -> String {
    drawing(svg, localized("drawing", "图形").in_lang(lang), "")
}

/// The SVG of the first drawing in a page.
#[cfg(test)]
pub(super) fn drawn_in(html: &str) -> String {
    let (_, data) = html.split_once("data:image/svg+xml;base64,").unwrap();
    String::from_utf8(STANDARD.decode(data.split_once('"').unwrap().0).unwrap()).unwrap()
}
