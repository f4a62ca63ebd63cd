//! The curves of several trainings in one chart, each with its name and its last value.

use tunebook_commands::Lang;
use tunebook_commands::output::Overlay;
use tunebook_commands::output::OverlayAxis;
use tunebook_commands::output::OverlayCurve;
use tunebook_commands::text::metric;

use super::axis::Axis;
use super::chart::Chart;
use super::chart::Line;

/// The lines of all curves, and dots where evaluations found something.
pub fn overlay(overlay: &Overlay, lang: Lang) -> String {
    let lines = overlay.curves.iter().enumerate().flat_map(|(colour, curve)| lines(colour, curve, lang)).collect();
    let x = match overlay.x {
        OverlayAxis::Step => Axis::Step,
        OverlayAxis::LearningRate => Axis::LearningRate,
    };
    Chart { name: metric(overlay.name, lang), x, lang, lines, best: None }.drawn()
}

fn lines(colour: usize, curve: &OverlayCurve, lang: Lang) -> Vec<Line> {
    let named = |name: &str, points: &[(f64, f64)]| {
        let last = points.iter().rfind(|(_, value)| value.is_finite());
        let last = last.map(|(_, value)| format!(" {value:.4}")).unwrap_or_default();
        format!("{name}{last}")
    };
    let points = curve.line().to_vec();
    let label = named(&curve.label, &points);
    let mut lines = vec![Line { label, colour, is_faint: false, has_dots: false, points }];
    if !curve.evaluations.is_empty() {
        let label = named(&format!("{}: {}", curve.label, metric("eval_loss", lang)), &curve.evaluations);
        let points = curve.evaluations.clone();
        lines.push(Line { label, colour, is_faint: true, has_dots: true, points });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::drawing::drawn_in;

    fn curve(label: &str, points: &[(f64, f64)]) -> OverlayCurve {
        OverlayCurve {
            label: label.to_string(),
            points: points.to_vec(),
            smoothed: Vec::new(),
            evaluations: vec![(2.0, 2.0)],
        }
    }

    #[test]
    fn curves_share_their_scale_and_have_names() {
        let curves = vec![curve("<a>", &[(1.0, 3.0), (3.0, 1.0)]), curve("b", &[(1.0, 3.0), (3.0, f64::NAN)])];
        let svg = drawn_in(&overlay(&Overlay { name: "loss", x: OverlayAxis::Step, curves, file: None }, Lang::En));
        assert!(svg.contains(">&lt;a&gt; 1.0000<") && svg.contains(">b 3.0000<") && !svg.contains("NaN"), "{svg}");
        assert!(svg.contains("<circle class=\"d1 faint\"") && svg.contains(">b: eval_loss 2.0000<"), "{svg}");
    }

    #[test]
    fn learning_rates_are_a_decade_apart() {
        let rates = vec![curve("range", &[(1e-6, 2.0), (1e-5, 1.0), (1e-4, 3.0)])];
        let curves = rates.into_iter().map(|curve| OverlayCurve { evaluations: Vec::new(), ..curve }).collect();
        let overlay = Overlay { name: "loss", x: OverlayAxis::LearningRate, curves, file: None };
        let svg = drawn_in(&super::overlay(&overlay, Lang::En));
        assert!(svg.contains(",144.0 386.0,257.0 702.0,31.0\""), "{svg}");
        assert!(svg.contains(">1.0e-6<") && svg.contains(">1.0e-4<") && svg.contains(">learning rate<"), "{svg}");
    }
}
