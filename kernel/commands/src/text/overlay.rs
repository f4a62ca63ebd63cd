//! The curves of several trainings, in braille where there is colour to tell them apart, else in letters.

use super::chart::Axes;
use super::chart::Canvas;
use super::chart::metric;
use crate::localized;
use crate::output::Overlay;
use crate::output::OverlayAxis;
use crate::page::Page;

/// The curves with their axes, as wide as the page, and their names below.
pub(super) fn draw(overlay: &Overlay, page: Page) -> String {
    let is_logarithmic = overlay.x == OverlayAxis::LearningRate;
    let shown = |x: f64| if is_logarithmic { x.log10() } else { x };
    let curves: Vec<Vec<(f64, f64)>> = overlay
        .curves
        .iter()
        .map(|curve| curve.line().iter().map(|(x, y)| (shown(*x), *y)).filter(|(_, y)| y.is_finite()).collect())
        .collect();
    let (xs, ys): (Vec<_>, Vec<_>) = curves.iter().flatten().copied().unzip();
    let axes = Axes::new(&xs, &ys, page);
    let canvases: Vec<_> = curves
        .iter()
        .map(|points| {
            let mut canvas = Canvas::new(axes.columns);
            canvas.line(&points.iter().map(|(x, y)| axes.place(*x, *y)).collect::<Vec<_>>());
            canvas
        })
        .collect();
    let cell = |row: usize, column: usize| {
        let there = canvases.iter().enumerate().rfind(|(_, canvas)| canvas.cell(row, column) != 0);
        there.map_or_else(
            || " ".to_string(),
            |(index, canvas)| match page.color {
                true => page.curve(index, &canvas.dots_at(row, column)),
                false => letter(index).to_string(),
            },
        )
    };
    let label = |x: Option<f64>| match x {
        Some(x) if is_logarithmic => format!("{:.1e}", 10f64.powf(x)),
        x => x.unwrap_or(0.0).to_string(),
    };
    let (from, to) = (label(xs.iter().copied().reduce(f64::min)), label(xs.iter().copied().reduce(f64::max)));
    let to = match overlay.x {
        OverlayAxis::Step => localized!(page.lang, "step {to}", "第 {to} 步"),
        OverlayAxis::LearningRate => localized!(page.lang, "learning rate {to}", "学习率 {to}"),
    };
    let (mut text, margin) = (axes.draw(metric(overlay.name, page.lang), cell, [&from, &to]), axes.margin);
    for (index, curve) in overlay.curves.iter().enumerate() {
        let sign = if page.color { page.curve(index, "──") } else { letter(index).to_string() };
        let last = curve.line().iter().rfind(|(_, y)| y.is_finite()).map(|(_, y)| format!("  {y:.4}"));
        let found = curve.evaluations.last().map(|(_, loss)| format!("  {} {loss:.4}", metric("eval_loss", page.lang)));
        let (last, found) = (last.unwrap_or_default(), found.unwrap_or_default());
        text += &format!("\n{:margin$}   {sign} {}{last}{found}", "", curve.label);
    }
    text
}

fn letter(index: usize) -> char {
    char::from(b'a' + (index % 26) as u8)
}

#[cfg(test)]
mod tests {
    use super::super::chart::HEIGHT;
    use super::*;
    use crate::output::OverlayCurve;

    fn curve(label: &str, points: &[(f64, f64)]) -> OverlayCurve {
        let (points, label) = (points.to_vec(), label.to_string());
        OverlayCurve { label, points, smoothed: Vec::new(), evaluations: Vec::new() }
    }

    #[test]
    fn curves_are_told_apart_without_colour() {
        let curves = vec![curve("up", &[(1.0, 1.0), (9.0, 3.0)]), curve("down", &[(1.0, 3.0), (9.0, 1.0)])];
        let overlay = Overlay { name: "loss", x: OverlayAxis::Step, curves, file: None };
        let page = Page { width: 40, color: false, lang: crate::Lang::En };
        let text = draw(&overlay, page);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("3.00 ┤b") && lines[1].ends_with('a'), "{text}");
        assert!(lines[HEIGHT].starts_with("1.00 ┤a") && lines[HEIGHT].ends_with('b'), "{text}");
        assert!(text.contains("step 9") && text.contains("a up  3.0000") && text.contains("b down  1.0000"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{text}");
        let coloured = draw(&overlay, Page { color: true, ..page });
        assert!(coloured.contains("\x1b[34m──\x1b[0m up") && coloured.contains("\x1b[33m──\x1b[0m down"), "{coloured}");
    }

    #[test]
    fn no_curve_and_no_number_are_drawn_too() {
        for curves in [Vec::new(), vec![curve("none", &[])], vec![curve("nan", &[(1e-4, f64::NAN), (1e-3, 1.0)])]] {
            let overlay = Overlay { name: "loss", x: OverlayAxis::LearningRate, curves, file: None };
            let text = draw(&overlay, Page { width: 40, color: false, lang: crate::Lang::Zh });
            assert!(text.contains("学习率") && !text.contains("NaN"), "{text}");
        }
    }
}
