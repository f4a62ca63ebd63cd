//! The losses of a training in rows, as the Trainer of transformers shows them in a notebook: a row an evaluation with the mean
//! training loss since the row before. Where nothing is evaluated, a list that folds has a row every so many steps.

use tunebook_commands::Lang;
use tunebook_commands::lang::localized;
use tunebook_commands::output::Table;
use tunebook_commands::text::metric;

use super::table::table;
use crate::training::Losses;

/// Rows at most, but for the newest.
const MOST: usize = 10;

/// The table; nothing before there are two rows, which the numbers above it say as well.
pub(super) fn steps(losses: &Losses, lang: Lang) -> String {
    let rows = rows(losses);
    if rows.len() < 2 {
        return String::new();
    }
    let mut headers = vec![localized("step", "步").in_lang(lang), metric("loss", lang)];
    if !losses.evaluations.is_empty() {
        headers.push(metric("eval_loss", lang));
    }
    let cells = |Row { step, loss, eval_loss }: Row| {
        let loss = loss.map_or_else(String::new, |loss| format!("{loss:.4}"));
        [step.to_string(), loss].into_iter().chain(eval_loss.map(|loss| format!("{loss:.4}"))).collect()
    };
    let table = table(&Table { headers, rows: rows.into_iter().map(cells).collect(), ..Table::default() });
    match losses.evaluations.is_empty() {
        true => {
            let title = localized("losses", "各步的损失").in_lang(lang);
            format!("<details><summary>{title}</summary>{table}</details>")
        }
        false => table,
    }
}

#[derive(Debug, PartialEq)]
struct Row {
    step: f64,
    /// The mean of the steps since the row before, if there were any.
    loss: Option<f64>,
    eval_loss: Option<f64>,
}

fn rows(losses: &Losses) -> Vec<Row> {
    let marked: Vec<(f64, Option<f64>)> = match losses.evaluations.is_empty() {
        true => losses.steps.iter().map(|(step, _)| (*step, None)).collect(),
        false => losses.evaluations.iter().map(|(step, loss)| (*step, Some(*loss))).collect(),
    };
    let every = round(marked.len().div_ceil(MOST));
    let newest = marked.len();
    let kept = marked.into_iter().zip(1..).filter(|(_, number)| number % every == 0 || *number == newest);
    let mut before = f64::NEG_INFINITY;
    kept.map(|((step, eval_loss), _)| {
        let since: Vec<_> =
            losses.steps.iter().filter(|(at, _)| *at > before && *at <= step).map(|(_, loss)| *loss).collect();
        before = step;
        let loss = (!since.is_empty()).then(|| since.iter().sum::<f64>() / since.len() as f64);
        Row { step, loss, eval_loss }
    })
    .collect()
}

/// The next of 1, 2, 5, 10, 20 …
fn round(least: usize) -> usize {
    let mut power = 1;
    loop {
        if let Some(round) = [1, 2, 5].map(|digit| digit * power).into_iter().find(|round| *round >= least) {
            return round;
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(steps: usize, evaluations: &[(f64, f64)]) -> Losses {
        let steps = (1..=steps).map(|step| (step as f64, 1.0 / step as f64)).collect();
        Losses { steps, evaluations: evaluations.to_vec() }
    }

    #[test]
    fn an_evaluation_is_a_row() {
        let losses = losses(5, &[(2.0, 3.0), (4.0, 2.0)]);
        let row = |step, loss, eval_loss| Row { step, loss: Some(loss), eval_loss: Some(eval_loss) };
        assert_eq!(rows(&losses), [row(2.0, 0.75, 3.0), row(4.0, (1.0 / 3.0 + 0.25) / 2.0, 2.0)]);
        let html = steps(&losses, Lang::Zh);
        assert!(html.contains(">评估损失</th>") && html.contains(">4</td>") && html.contains(">0.2917</td>"), "{html}");
    }

    #[test]
    fn long_trainings_have_few_rows_at_round_steps() {
        let places = |steps| rows(&losses(steps, &[])).iter().map(|row| row.step).collect::<Vec<_>>();
        assert_eq!(places(3), [1.0, 2.0, 3.0]);
        assert_eq!(places(47), [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 47.0]);
        assert!(places(9_999).len() <= MOST + 1);
        let evaluations: Vec<_> = (1..=25).map(|at| (f64::from(at) * 4.0, 1.0)).collect();
        let rows = rows(&losses(100, &evaluations));
        assert_eq!((rows.len(), rows[0].step, rows[4].step), (5, 20.0, 100.0));
    }

    #[test]
    fn one_row_is_none() {
        assert_eq!(steps(&losses(1, &[]), Lang::En), "");
        assert_eq!(steps(&losses(0, &[]), Lang::En), "");
        assert!(steps(&losses(2, &[]), Lang::En).contains(">0.5000</td>"));
    }
}
