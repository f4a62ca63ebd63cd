//! What data was chosen: some of its pictures, how long its samples are, and a histogram of their lengths.

use std::fmt::Write;

use tunebook_commands::Lang;
use tunebook_commands::output::Table;
use tunebook_engine::report::BINS;
use tunebook_engine::report::DataReport;
use tunebook_engine::report::Spread;

use super::drawing::drawing;
use super::escape::escape;
use super::picture::small_picture;
use super::table::with_cells;

/// Width and height of a picture at most, in pixels.
const PICTURE: u32 = 88;
/// Height of a histogram, and width of one of its bars.
const HEIGHT: usize = 28;
const BAR: usize = 10;

/// A strip of pictures, and the table, whose last column is drawn.
pub fn data(report: &DataReport, words: &Table, lang: Lang) -> String {
    let pictures: String = report.images.iter().map(|path| small_picture(path, PICTURE, lang)).collect();
    let spreads = [&report.tokens, &report.supervised_tokens, &report.picture_tokens];
    let last = words.headers.len() - 1;
    let cell = |row: usize, column: usize, text: &str| match spreads.get(row) {
        Some(spread) if column == last => histogram(spread),
        _ => escape(text),
    };
    format!(
        "<div><div style=\"display:flex;gap:8px;flex-wrap:wrap\">{pictures}</div>{}</div>",
        with_cells(words, &cell)
    )
}

/// Bars of how many lie where between the lowest and the highest.
fn histogram(spread: &Spread) -> String {
    let most = spread.bins.iter().copied().max().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (place, count) in spread.bins.iter().enumerate() {
        // One is to be seen beside thousands.
        let height = if *count > 0 { (count * HEIGHT / most).max(1) } else { 0 };
        let (x, y) = (BAR * place, HEIGHT - height);
        let _ = write!(bars, "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{height}\"/>", BAR - 1);
    }
    let width = BAR * BINS;
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" height=\"{HEIGHT}\" \
         fill=\"#3d87c0\">{bars}</svg>"
    );
    let counts: Vec<_> = spread.bins.iter().map(usize::to_string).collect();
    let (min, max) = (spread.min, spread.max);
    drawing(&svg, &format!("{min} … {max}: {}", counts.join(" ")), "display:block")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::drawing::drawn_in;

    #[test]
    fn lengths_are_bars() {
        let spread = Spread::of([10, 10, 12, 25].into_iter());
        let html = histogram(&spread);
        assert!(html.contains("alt=\"10 … 25: 2 0 1 0"), "{html}");
        let svg = drawn_in(&html);
        assert!(
            svg.contains("x=\"0\" y=\"0\" width=\"9\" height=\"28\"") && svg.contains("x=\"150\" y=\"14\""),
            "{svg}"
        );
        // All in the first.
        assert!(histogram(&Spread::of([3, 3].into_iter())).contains("alt=\"3 … 3: 2 0"));
    }
}
