//! The curve of a training: a value over the steps, smoothed, and what evaluations found.

use tunebook_commands::output::Plot;
use tunebook_engine::output::plot::smooth;

use super::axis::Axis;
use super::chart::Chart;
use super::chart::Line;
use super::overlay::overlay;
use crate::progress::SweepProgress;
use crate::training::Training;

/// A plot.
pub fn curve(plot: &Plot) -> String {
    let over = |values: &[f64]| plot.steps.iter().copied().zip(values.iter().copied()).collect();
    chart(plot.name, over(&plot.values), over(&plot.smoothed), &plot.evaluations).drawn()
}

/// The losses of a training that goes on; with those of the others where it is one of a sweep. Nothing before the first step.
pub(super) fn live(training: &Training, sweep: Option<&SweepProgress>) -> String {
    if let Some(sweep) = sweep {
        return overlay(&sweep.overlay(training));
    }
    if training.records.is_empty() {
        return String::new();
    }
    let losses: Vec<_> = training.records.iter().map(|record| record.loss()).collect();
    let smoothed = smooth(&losses);
    let over = |values: Vec<f64>| training.records.iter().map(|record| record.step as f64).zip(values).collect();
    chart("loss", over(losses), over(smoothed), &training.evaluations).drawn()
}

/// As LLaMA-Factory draws it: the values pale below the smoothed ones. Of evaluations the one with the lowest loss has a ring.
fn chart<'a>(
    name: &'a str,
    values: Vec<(f64, f64)>,
    smoothed: Vec<(f64, f64)>,
    evaluations: &[(f64, f64)],
) -> Chart<'a> {
    let line =
        |label: &str, points| Line { label: label.to_string(), colour: 0, is_faint: false, has_dots: false, points };
    let mut lines = match smoothed.is_empty() {
        true => vec![line(name, values)],
        false => vec![Line { is_faint: true, ..line("original", values) }, line("smoothed", smoothed)],
    };
    if !evaluations.is_empty() {
        let points = evaluations.to_vec();
        lines.push(Line { colour: 1, has_dots: true, ..line("eval_loss", points) });
    }
    let finite = evaluations.iter().filter(|(_, loss)| loss.is_finite());
    let best = finite.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|_| evaluations.len() > 1);
    let best = best.map(|&(step, loss)| ((step, loss), format!("best {loss:.4}, step {step}")));
    Chart { name, x: Axis::Step, lines, best }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::drawing::drawn_in;

    #[test]
    fn the_lowest_evaluation_is_the_best() {
        let plot = Plot {
            name: "loss",
            steps: vec![1.0, 2.0, 3.0],
            values: vec![3.0, 1.0, 0.5],
            smoothed: vec![3.0, 2.0, 1.0],
            evaluations: vec![(1.0, 2.0), (2.0, 1.5), (3.0, f64::NAN)],
            file: None,
        };
        let svg = drawn_in(&curve(&plot));
        for text in [">original<", ">smoothed<", ">eval_loss<", ">best 1.5000, step 2<", "class=\"c0 faint\""] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }
}
