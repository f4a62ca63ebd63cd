//! A curve in braille: two by four dots a character.

use unicode_width::UnicodeWidthStr;

use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Plot;
use crate::page::Page;

/// Rows of the drawing itself.
pub(super) const HEIGHT: usize = 12;
/// The widest drawing, in characters.
const MOST_COLUMNS: usize = 100;
const BLANK: u32 = 0x2800;
/// An evaluation.
const CROSS: &str = "×";

/// A curve as it was found, beside the smoothed one.
pub const ORIGINAL: Localized = localized("original", "原值");
pub const SMOOTHED: Localized = localized("smoothed", "平滑");

/// What is drawn over the steps, as people call it: in English by its name in files.
pub fn metric(name: &'static str, lang: Lang) -> &'static str {
    let metric = match name {
        "loss" => localized("loss", "损失"),
        "eval_loss" => localized("eval_loss", "评估损失"),
        "learning_rate" => localized("learning_rate", "学习率"),
        "grad_norm" => localized("grad_norm", "梯度范数"),
        _ => return name,
    };
    metric.in_lang(lang)
}

/// The curve with its axes, as wide as the page. In colour, the values are a faint line and the smoothed ones a bright
/// one; without, the values are single dots and the smoothed ones a line.
pub(super) fn draw(plot: &Plot, page: Page) -> String {
    let evaluated: Vec<_> = plot.evaluations.iter().map(|(_, value)| *value).collect();
    let axes = Axes::new(&plot.steps, &[&plot.values[..], &evaluated].concat(), page);
    let points = |values: &[f64]| -> Vec<_> {
        let both = plot.steps.iter().zip(values).filter(|(_, value)| value.is_finite());
        both.map(|(step, value)| axes.place(*step, *value)).collect()
    };
    let (mut faint, mut bright) = (Canvas::new(axes.columns), Canvas::new(axes.columns));
    match (plot.smoothed.is_empty(), page.color) {
        (true, _) => bright.line(&points(&plot.values)),
        (false, true) => faint.line(&points(&plot.values)),
        (false, false) => faint.dots(&points(&plot.values)),
    }
    bright.line(&points(&plot.smoothed));
    let found = plot.evaluations.iter().filter(|(_, value)| value.is_finite());
    let found = found.map(|(step, value)| axes.place(*step, *value));
    let crosses: Vec<_> = found.map(|(x, y)| (y / 4, x / 2)).collect();
    let cell = |row: usize, column: usize| match crosses.contains(&(row as i64, column as i64)) {
        true => page.warm(CROSS),
        false => cell(faint.cell(row, column), bright.cell(row, column), page),
    };
    let (from, to) = (plot.steps.first().copied().unwrap_or(0.0), plot.steps.last().copied().unwrap_or(0.0));
    let to = localized!(page.lang, "step {to}", "第 {to} 步");
    axes.draw(&format!("{}{}", metric(plot.name, page.lang), legend(plot, page)), cell, [&from.to_string(), &to])
}

/// The axes of a drawing that is as wide as the page.
pub(super) struct Axes {
    first: f64,
    last: f64,
    low: f64,
    high: f64,
    /// On the left of each row.
    marks: Vec<String>,
    pub margin: usize,
    /// Characters of the drawing itself.
    pub columns: usize,
}

impl Axes {
    pub(super) fn new(xs: &[f64], ys: &[f64], page: Page) -> Self {
        let finite: Vec<_> = ys.iter().copied().filter(|value| value.is_finite()).collect();
        let ((first, last), (low, high)) = (range(xs), range(&finite));
        let marks: Vec<_> = (0..HEIGHT).map(|row| mark(row, low, high)).collect();
        let margin = marks.iter().map(String::len).max().unwrap_or(0);
        let columns = page.width.saturating_sub(margin + 3).clamp(10, MOST_COLUMNS);
        Self { first, last, low, high, marks, margin, columns }
    }

    /// The dot of a point, from the upper left corner on.
    pub(super) fn place(&self, x: f64, y: f64) -> (i64, i64) {
        let column = (x - self.first) / (self.last - self.first) * (self.columns * 2 - 1) as f64;
        let row = (self.high - y) / (self.high - self.low) * (HEIGHT * 4 - 1) as f64;
        (column.round() as i64, row.round() as i64)
    }

    /// The drawing, of which `cell` gives each character, below `heading`; `from` and `to` stand at the ends of the x axis.
    pub(super) fn draw(&self, heading: &str, cell: impl Fn(usize, usize) -> String, [from, to]: [&str; 2]) -> String {
        let Self { margin, columns, .. } = *self;
        let mut text = format!("{:margin$}   {heading}\n", "");
        for (row, mark) in self.marks.iter().enumerate() {
            text += &format!("{mark:>margin$} {}", if mark.is_empty() { '│' } else { '┤' });
            (0..columns).for_each(|column| text += &cell(row, column));
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text += &format!("{:margin$} └{}\n", "", "─".repeat(columns));
        let width = columns.saturating_sub(from.len() + to.width() - to.chars().count());
        text + &format!("{:margin$}  {from}{to:>width$}", "")
    }
}

fn legend(plot: &Plot, page: Page) -> String {
    let [original, smoothed] = [ORIGINAL, SMOOTHED].map(|text| text.in_lang(page.lang));
    let evaluations = match plot.evaluations.is_empty() {
        true => String::new(),
        false => format!("   {}", page.warm(&format!("{CROSS} {}", metric("eval_loss", page.lang)))),
    };
    let curves = match (plot.smoothed.is_empty(), page.color) {
        (true, _) => String::new(),
        (false, true) => {
            format!("   {}   {}", page.faint(&format!("── {original}")), page.bright(&format!("── {smoothed}")))
        }
        (false, false) => format!("   ⠂ {original}   ⠒ {smoothed}"),
    };
    curves + &evaluations
}

/// Both curves in one character, in the colour of the upper one.
fn cell(faint: u32, bright: u32, page: Page) -> String {
    let dots = char::from_u32(BLANK + (faint | bright)).unwrap_or(' ').to_string();
    match (faint, bright) {
        (0, 0) => " ".to_string(),
        (_, 0) => page.faint(&dots),
        _ => page.bright(&dots),
    }
}

/// The range of the values, widened where it is a point.
fn range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match low < high {
        true => (low, high),
        false if low.is_finite() => (low - 0.5 * low.abs().max(1e-3), low + 0.5 * low.abs().max(1e-3)),
        false => (0.0, 1.0),
    }
}

/// The value at every third row.
fn mark(row: usize, low: f64, high: f64) -> String {
    if !row.is_multiple_of(3) && row != HEIGHT - 1 {
        return String::new();
    }
    // The middle of the row, in dots.
    let dot = row as f64 * 4.0 + if row == HEIGHT - 1 { 3.0 } else { 0.0 };
    let value = high - dot / (HEIGHT * 4 - 1) as f64 * (high - low);
    match high.abs().max(low.abs()) {
        large if large < 1e-2 => format!("{value:.1e}"),
        _ if high - low < 0.05 => format!("{value:.4}"),
        large if large >= 1000.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

/// Dots, two by four a character.
pub(super) struct Canvas {
    columns: usize,
    cells: Vec<u32>,
}

impl Canvas {
    pub(super) fn new(columns: usize) -> Self {
        Self { columns, cells: vec![0; columns * HEIGHT] }
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> u32 {
        self.cells[row * self.columns + column]
    }

    /// The dots of a cell as a character.
    pub(super) fn dots_at(&self, row: usize, column: usize) -> String {
        char::from_u32(BLANK + self.cell(row, column)).unwrap_or(' ').to_string()
    }

    fn dots(&mut self, points: &[(i64, i64)]) {
        points.iter().for_each(|&point| self.dot(point));
    }

    /// Joins the points with lines.
    pub(super) fn line(&mut self, points: &[(i64, i64)]) {
        self.dots(points);
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let count = (x1 - x0).abs().max((y1 - y0).abs()).max(1);
            for i in 0..=count {
                self.dot((x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count));
            }
        }
    }

    fn dot(&mut self, (x, y): (i64, i64)) {
        /// The bits of a braille pattern, by row and column.
        const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.columns * 2 && y < HEIGHT * 4 {
            self.cells[y / 4 * self.columns + x / 2] |= BITS[y % 4][x % 2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Page = Page { width: 40, color: false, lang: crate::Lang::En };

    fn plot(values: &[f64]) -> Plot {
        Plot {
            name: "loss",
            steps: (1..=values.len()).map(|step| step as f64).collect(),
            values: values.to_vec(),
            smoothed: Vec::new(),
            evaluations: Vec::new(),
            file: None,
        }
    }

    #[test]
    fn a_falling_line_falls() {
        let text = draw(&plot(&[3.0, 2.0, 1.0]), PLAIN);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 3);
        assert!(lines[1].starts_with("3.00 ┤⠉⠢⢄"), "{text}");
        assert!(lines[HEIGHT].starts_with("1.00 ┤   "), "{text}");
        assert!(lines[HEIGHT].ends_with('⢄'), "{text}");
        assert!(lines[HEIGHT + 2].trim_start().starts_with('1') && text.ends_with("step 3"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{text}");
    }

    #[test]
    fn one_point_and_no_finite_value_are_drawn_too() {
        assert!(draw(&plot(&[2.5]), PLAIN).chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
        assert!(draw(&plot(&[f64::NAN, f64::NAN]), PLAIN).contains("step 2"));
        assert!(draw(&plot(&[1.0, f64::INFINITY, 2.0]), PLAIN).starts_with("       loss"));
    }

    #[test]
    fn evaluations_are_crosses_in_the_same_drawing() {
        let text = draw(&Plot { evaluations: vec![(1.0, 4.0), (3.0, 1.0)], ..plot(&[3.0, 2.0, 1.0]) }, PLAIN);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("loss   × eval_loss"), "{text}");
        assert!(lines[1].starts_with("4.00 ┤×") && lines[HEIGHT].ends_with('×'), "{text}");
        assert_eq!(text.matches('×').count(), 3);
    }

    #[test]
    fn a_small_learning_rate_is_marked_as_such() {
        let text = draw(&plot(&[5e-5, 2.5e-5]), PLAIN);
        assert!(text.contains("5.0e-5 ┤") && text.contains("2.5e-5 ┤"), "{text}");
    }
}
