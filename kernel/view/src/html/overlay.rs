//! The curves of several trainings as one SVG, each with its name.

use std::fmt::Write;

use tunebook_commands::output::Overlay;
use tunebook_commands::output::OverlayAxis;
use tunebook_engine::output::plot::COLOURS;

use super::curve::HEIGHT;
use super::curve::LEFT;
use super::curve::RIGHT;
use super::curve::Scale;
use super::curve::WIDTH;
use super::curve::begin;
use super::escape::escape;

/// Height of a line of the legend.
const LINE: f64 = 15.0;

/// The lines of all curves, and dots where evaluations found something; the names stand below.
pub fn overlay(overlay: &Overlay) -> String {
    let name = overlay.name;
    let is_logarithmic = overlay.x == OverlayAxis::LearningRate;
    let shown = |x: f64| if is_logarithmic { x.log10() } else { x };
    let points = |points: &[(f64, f64)]| points.iter().map(|(x, y)| (shown(*x), *y)).collect::<Vec<_>>();
    let all: Vec<_> = overlay
        .curves
        .iter()
        .flat_map(|curve| [points(curve.line()), points(&curve.evaluations)].concat())
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let (mut xs, ys): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    xs.sort_by(f64::total_cmp);
    let scale = Scale::new(&xs, &ys);
    let height = HEIGHT + LINE * overlay.curves.len() as f64;
    let (over, end) = if is_logarithmic { ("learning rates", "learning rate") } else { ("steps", "step") };
    let mut svg = begin(name, over, height) + &scale.grid();
    let label = |x: f64| if is_logarithmic { format!("{:.1e}", 10f64.powf(x)) } else { x.to_string() };
    svg += &scale.ends(&label(scale.first), &format!("{end} {}", label(scale.last)));
    for (index, curve) in overlay.curves.iter().enumerate() {
        let colour = format!("#{:06x}", COLOURS[index % COLOURS.len()]);
        let (xs, ys): (Vec<_>, Vec<_>) = points(curve.line()).into_iter().unzip();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
            scale.points(&xs, &ys)
        );
        for (x, y) in points(&curve.evaluations).into_iter().filter(|(_, y)| y.is_finite()) {
            let (x, y) = (scale.x(x), scale.y(y));
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let y = HEIGHT + LINE * index as f64 + 6.0;
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {:.1}h18\" stroke=\"{colour}\" stroke-width=\"2.5\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\" fill=\"currentColor\">{}</text>",
            y - 4.0,
            LEFT + 24.0,
            escape(&curve.label)
        );
        if let Some((_, last)) = curve.line().iter().rfind(|(_, y)| y.is_finite()) {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"currentColor\" fill-opacity=\".8\">{last:.4}</text>",
                WIDTH - RIGHT
            );
        }
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use tunebook_commands::output::OverlayCurve;

    use super::*;

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
        let svg = overlay(&Overlay { name: "loss", x: OverlayAxis::Step, curves, file: None });
        assert!(svg.contains("points=\"58.0,18.0 550.0,196.0\"") && svg.contains("points=\"58.0,18.0\""), "{svg}");
        assert!(svg.contains(">&lt;a&gt;<") && svg.contains(">b<") && !svg.contains("NaN"), "{svg}");
        assert!(svg.contains("cx=\"304.0\" cy=\"107.0\"") && svg.contains("#ff7f0e"), "{svg}");
    }

    #[test]
    fn learning_rates_are_a_decade_apart() {
        let rates = vec![curve("range", &[(1e-6, 2.0), (1e-5, 1.0), (1e-4, 3.0)])];
        let curves = rates.into_iter().map(|curve| OverlayCurve { evaluations: Vec::new(), ..curve }).collect();
        let svg = overlay(&Overlay { name: "loss", x: OverlayAxis::LearningRate, curves, file: None });
        assert!(svg.contains("58.0,107.0 304.0,196.0 550.0,18.0"), "{svg}");
        assert!(svg.contains(">1.0e-6<") && svg.contains("1.0e-4<"), "{svg}");
    }
}
