//! The curve of a training: a value over the steps, smoothed, and what evaluations found.

use tunebook_commands::Lang;
use tunebook_commands::localized;
use tunebook_commands::output::Plot;
use tunebook_commands::text::ORIGINAL;
use tunebook_commands::text::SMOOTHED;
use tunebook_commands::text::metric;
use tunebook_engine::output::plot::smooth;

use super::axis::Axis;
use super::chart::Chart;
use super::chart::Line;
use crate::training::Losses;

/// A plot.
pub fn curve(plot: &Plot, lang: Lang) -> String {
    let over = |values: &[f64]| plot.steps.iter().copied().zip(values.iter().copied()).collect();
    chart(plot.name, over(&plot.values), over(&plot.smoothed), &plot.evaluations, lang).drawn()
}

/// The losses of a training that goes on, from its first step. Nothing before that.
pub(super) fn live(Losses { steps, evaluations }: Losses, lang: Lang) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let (places, losses): (Vec<_>, Vec<_>) = steps.iter().copied().unzip();
    let smoothed = places.into_iter().zip(smooth(&losses)).collect();
    chart("loss", steps, smoothed, &evaluations, lang).drawn()
}

/// As LLaMA-Factory draws it: the values pale below the smoothed ones. Of evaluations the one with the lowest loss has a ring.
fn chart(
    name: &'static str,
    values: Vec<(f64, f64)>,
    smoothed: Vec<(f64, f64)>,
    evaluations: &[(f64, f64)],
    lang: Lang,
) -> Chart<'static> {
    let line =
        |label: &str, points| Line { label: label.to_string(), colour: 0, is_faint: false, has_dots: false, points };
    let mut lines = match smoothed.is_empty() {
        true => vec![line(metric(name, lang), values)],
        false => vec![
            Line { is_faint: true, ..line(ORIGINAL.in_lang(lang), values) },
            line(SMOOTHED.in_lang(lang), smoothed),
        ],
    };
    if !evaluations.is_empty() {
        let points = evaluations.to_vec();
        lines.push(Line { colour: 1, has_dots: true, ..line(metric("eval_loss", lang), points) });
    }
    let finite = evaluations.iter().filter(|(_, loss)| loss.is_finite());
    let best = finite.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|_| evaluations.len() > 1);
    let words = |loss, step| localized!(lang, "best {loss:.4}, step {step}", "最低 {loss:.4}，第 {step} 步");
    let best = best.map(|&(step, loss)| ((step, loss), words(loss, step)));
    Chart { name: metric(name, lang), x: Axis::Step, lang, lines, best }
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
        let svg = drawn_in(&curve(&plot, Lang::En));
        for text in [">original<", ">smoothed<", ">eval_loss<", ">best 1.5000, step 2<", "class=\"c0 faint\""] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        let svg = drawn_in(&curve(&plot, Lang::Zh));
        for text in [
            ">原值<",
            ">平滑<",
            ">评估损失<",
            ">最低 1.5000，第 2 步<",
            ">损失<",
            ">步<",
            "；平滑：从 3.0000 到 1.0000",
        ] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }
}
