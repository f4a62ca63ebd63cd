//! A curve as SVG in the colours of the page around it; where these cannot be had (as a picture of its own it knows no
//! page), in a grey that reads on light and on dark.

use std::fmt::Write;

/// Maximum number of points; more could not be distinguished.
const MOST_POINTS: usize = 400;
pub(super) const WIDTH: f64 = 560.0;
pub(super) const HEIGHT: f64 = 220.0;
/// Room for the marks on the left, and above and below the curve.
pub(super) const LEFT: f64 = 58.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 24.0;
pub(super) const RIGHT: f64 = 10.0;

/// JupyterLab's blue where there is one.
pub(super) const ACCENT: &str = "var(--jp-brand-color1, #1f77b4)";

/// The colour of evaluations, beside that of the training.
const EVALUATION: &str = "var(--jp-warn-color1, #ff7f0e)";

/// `values` over `steps`, faint where there is a smoothed curve beside it, and what evaluations found at their steps.
/// Values that are not finite are left out.
pub fn curve(name: &str, steps: &[f64], values: &[f64], smoothed: &[f64], evaluations: &[(f64, f64)]) -> String {
    let found: Vec<f64> = evaluations.iter().map(|(_, value)| *value).collect();
    let scale = Scale::new(steps, &[values, &found].concat());
    let mut svg = begin(name, "steps", HEIGHT) + &scale.grid();
    svg += &scale.ends(&scale.first.to_string(), &format!("step {}", scale.last));
    let lines = if smoothed.is_empty() { vec![(values, 1.0)] } else { vec![(values, 0.45), (smoothed, 1.0)] };
    for (values, opacity) in lines {
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f77b4\" style=\"stroke:{ACCENT}\" \
             stroke-opacity=\"{opacity}\" stroke-width=\"1.8\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
            scale.points(steps, values)
        );
    }
    if !evaluations.is_empty() {
        let at: Vec<f64> = evaluations.iter().map(|(step, _)| *step).collect();
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"11\" text-anchor=\"end\" font-weight=\"600\" fill=\"#ff7f0e\" \
             style=\"fill:{EVALUATION}\">eval_loss</text><polyline points=\"{}\" fill=\"none\" stroke=\"#ff7f0e\" \
             style=\"stroke:{EVALUATION}\" stroke-width=\"1.8\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
            WIDTH - RIGHT,
            scale.points(&at, &found),
        );
        for (step, value) in evaluations.iter().filter(|(_, value)| value.is_finite()) {
            let (x, y) = (scale.x(*step), scale.y(*value));
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#ff7f0e\" style=\"fill:{EVALUATION}\"/>"
            );
        }
    }
    svg + "</svg>"
}

/// The beginning of a chart of so much height, with its name above.
pub(super) fn begin(name: &str, over: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         style=\"max-width:100%;height:auto;color:var(--jp-ui-font-color1, #808080)\" \
         font-family=\"sans-serif\" font-size=\"11\" role=\"img\" aria-label=\"{name} over {over}\">\
         <text x=\"{LEFT}\" y=\"11\" fill=\"currentColor\" font-weight=\"600\">{name}</text>"
    )
}

pub(super) struct Scale {
    pub first: f64,
    pub last: f64,
    low: f64,
    high: f64,
}

impl Scale {
    pub(super) fn new(steps: &[f64], values: &[f64]) -> Self {
        let finite = values.iter().copied().filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (first, last) = (steps.first().copied().unwrap_or(0.0), steps.last().copied().unwrap_or(1.0));
        let (low, high) = match low.partial_cmp(&high) {
            Some(std::cmp::Ordering::Less) => (low, high),
            Some(std::cmp::Ordering::Equal) => (low - 0.5 * low.abs().max(1e-6), low + 0.5 * low.abs().max(1e-6)),
            _ => (0.0, 1.0),
        };
        Self { first, last, low, high }
    }

    pub(super) fn x(&self, step: f64) -> f64 {
        let part = if self.last > self.first { (step - self.first) / (self.last - self.first) } else { 0.5 };
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        TOP + (self.high - value) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
    }

    /// Lines across at round values, with these on the left.
    pub(super) fn grid(&self) -> String {
        let mut svg = String::new();
        for mark in self.marks() {
            let y = self.y(mark);
            let _ = write!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"currentColor\" stroke-opacity=\".15\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\" fill-opacity=\".8\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                number(mark),
            );
        }
        svg
    }

    /// The words at both ends of the x axis.
    pub(super) fn ends(&self, first: &str, last: &str) -> String {
        let mut svg = String::new();
        for (x, anchor, text) in [(self.first, "start", first), (self.last, "end", last)] {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"currentColor\" fill-opacity=\".8\">{text}</text>",
                self.x(x),
                HEIGHT - 7.0,
            );
        }
        svg
    }

    /// Four to ten round values: multiples of the largest step that gives so many.
    fn marks(&self) -> Vec<f64> {
        let power = 10f64.powf((self.high - self.low).log10().floor());
        let marks = |step: f64| -> Vec<f64> {
            let first = (self.low / step).ceil();
            (0..20).map(|i| (first + f64::from(i)) * step).take_while(|mark| *mark <= self.high).collect()
        };
        let steps = [1.0, 0.5, 0.2, 0.1].map(|part| part * power);
        steps.into_iter().map(marks).find(|marks| marks.len() >= 4).unwrap_or_default()
    }

    pub(super) fn points(&self, steps: &[f64], values: &[f64]) -> String {
        let all: Vec<_> = steps.iter().zip(values).filter(|(_, value)| value.is_finite()).collect();
        let every = all.len().div_ceil(MOST_POINTS).max(1);
        // Counted from the end, so that the newest point is always there.
        let kept = all.iter().enumerate().filter(|(i, _)| (all.len() - 1 - i).is_multiple_of(every));
        kept.map(|(_, (step, value))| format!("{:.1},{:.1}", self.x(**step), self.y(**value)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        small if small > 0.0 && small < 1e-3 => format!("{value:.1e}"),
        // As many digits as the mark has; rounding takes away what its sum has too many.
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_spans_the_drawing() {
        let svg = curve("loss", &[1.0, 2.0, 3.0], &[3.0, 2.5, 1.0], &[], &[]);
        assert!(svg.contains("points=\"58.0,18.0 304.0,62.5 550.0,196.0\""), "{svg}");
        assert!(svg.contains(">step 3<") && svg.contains(">1.5<"), "{svg}");
    }

    #[test]
    fn an_axis_has_four_to_ten_marks() {
        for (low, high) in
            [(0.005, 8.3), (4.4, 6.9), (0.0, 1.0), (0.9999, 1.0001), (1e-5, 9.9e-5), (-3.0, 17.0), (99.0, 119.9)]
        {
            let marks = Scale { first: 0.0, last: 1.0, low, high }.marks();
            assert!((4..=10).contains(&marks.len()), "{low} to {high}: {marks:?}");
            assert!(marks.iter().all(|mark| (low..=high).contains(mark)), "{low} to {high}: {marks:?}");
        }
    }

    #[test]
    fn strange_values_are_drawn_too() {
        for values in [vec![], vec![2.0], vec![f64::NAN, 1.0], vec![0.0, 0.0], vec![f64::INFINITY]] {
            let steps: Vec<_> = (1..=values.len()).map(|step| step as f64).collect();
            let svg = curve("loss", &steps, &values, &values, &[(1.0, f64::NAN), (2.0, 1.0)]);
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn a_long_curve_is_thinned_to_its_newest_point() {
        let values: Vec<_> = (0..10_001).map(f64::from).collect();
        let svg = curve("loss", &values, &values, &[], &[]);
        assert!(svg.len() < 10_000 && svg.contains(" 550.0,18.0\""));
    }
}
