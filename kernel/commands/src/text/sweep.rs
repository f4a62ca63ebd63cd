//! What a sweep and a range test have found.

use tunebook_engine::report::Parent;

use super::overlay;
use super::table::draw_table;
use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::page::Page;
use crate::quantities::STEP;
use crate::quantities::count;
use crate::quantities::seconds;
use crate::sweep::RangeReport;
use crate::sweep::SweepBy;
use crate::sweep::SweepReport;
use crate::sweep::Trial;

pub(super) fn sweep(report: &SweepReport, page: Page) -> String {
    overlay::draw(&report.curves, page) + "\n" + &draw_table(&table(report, page.lang), page)
}

/// Which training of a sweep begins.
pub fn trial(number: usize, total: usize, settings: &str, lang: Lang) -> String {
    localized!(lang, "training {number} of {total}: {settings}", "第 {number} 次训练，共 {total} 次：{settings}")
}

/// The trials, with the best one marked, and what becomes of it.
pub fn table(report: &SweepReport, lang: Lang) -> Table {
    let steps = count(report.steps, STEP, lang);
    let title = match &report.origin {
        Some(Parent { adapter, step }) => localized!(
            lang,
            "{steps} each from step {step} of `{adapter}`",
            "从 `{adapter}` 的第 {step} 步起各训练 {steps}"
        ),
        None => localized!(lang, "{steps} each with a new adapter", "各用新适配器训练 {steps}"),
    };
    // All trials have the same.
    let keys: Vec<_> =
        report.trials.iter().take(1).flat_map(|trial| trial.settings.iter()).map(|(key, _)| key).collect();
    let has_eval = report.trials.iter().any(|trial| trial.eval_loss.is_some());
    let has_probes = report.trials.iter().any(|trial| !trial.probes.is_empty());
    let mut headers = vec![""];
    headers.extend(&keys);
    headers.push(localized("loss", "损失").in_lang(lang));
    if has_eval {
        headers.push("eval_loss");
    }
    headers.push(localized("time", "用时").in_lang(lang));
    if has_probes {
        headers.push(localized("probes", "探针").in_lang(lang));
    }
    let row = |(index, trial): (usize, &Trial)| {
        let loss = |loss: Option<f64>| loss.map_or_else(|| "-".to_string(), |loss| format!("{loss:.4}"));
        let sign = match &trial.problem {
            Some(_) => "✗",
            None if report.best == Some(index) => "*",
            None => "",
        };
        let mut row = vec![sign.to_string()];
        row.extend(trial.settings.iter().map(|(_, value)| value.to_string()));
        row.push(loss(trial.loss));
        if has_eval {
            row.push(loss(trial.eval_loss));
        }
        row.push(seconds(trial.elapsed, lang));
        if has_probes {
            row.push(trial.probes.join(" | "));
        }
        row
    };
    let rows = report.trials.iter().enumerate().map(row).collect();
    Table { title, headers, rows, note: note(report, lang) }
}

fn note(report: &SweepReport, lang: Lang) -> String {
    let last = count(report.last_steps(), STEP, lang);
    let mut lines = vec![localized!(lang, "loss: the mean over the last {last}", "损失：最后 {last}的平均")];
    for trial in &report.trials {
        if let Some(problem) = &trial.problem {
            let settings = &trial.settings;
            lines.push(localized!(lang, "✗ {settings}: {problem}", "✗ {settings}：{problem}"));
        }
    }
    let (done, planned) = (report.trials.len(), report.planned);
    if done < planned {
        lines.push(localized!(lang, "stopped: {done} of {planned} trainings", "已停止：完成 {done}/{planned} 次训练"));
    }
    lines.push(match report.best() {
        Some(Trial { adapter, settings, .. }) => {
            let by = match report.by {
                SweepBy::Loss => localized("loss", "损失").in_lang(lang),
                // Chinese stands apart from it.
                SweepBy::EvalLoss => localized("eval_loss", "eval_loss ").in_lang(lang),
            };
            localized!(
                lang,
                "lowest {by}: {settings}; its adapter `{adapter}` is active, and {settings} is set",
                "{by}最低：{settings}；它的适配器 `{adapter}` 已启用，{settings} 已设置"
            )
        }
        None => localized!(
            lang,
            "no training made all its steps; everything is as before",
            "没有一次训练完成全部步数；一切恢复原状"
        ),
    });
    if report.is_kept {
        lines.push(localized!(lang, "all adapters stay: `adapter list`", "全部适配器均保留：`adapter list`"));
    }
    lines.join("\n")
}

pub(super) fn range_test(report: &RangeReport, page: Page) -> String {
    overlay::draw(&report.curve, page) + "\n" + &range_note(report, page.lang)
}

/// What the curve says.
pub fn range_note(report: &RangeReport, lang: Lang) -> String {
    let (made, time) = (count(report.steps, STEP, lang), seconds(report.elapsed, lang));
    let mut lines = vec![match report.steepest {
        Some(rate) => localized!(
            lang,
            "the loss falls fastest at a learning rate of {rate:.1e}; `set learning_rate={rate:.1e}` takes it",
            "学习率为 {rate:.1e} 时损失下降最快；`set learning_rate={rate:.1e}` 采用它"
        ),
        None => localized!(lang, "the loss never falls in this range", "在这个范围内损失没有下降"),
    }];
    if let Some(rate) = report.lowest {
        lines.push(localized!(lang, "it is lowest at {rate:.1e}", "损失在 {rate:.1e} 处最低"));
    }
    if let Some(rate) = report.diverged {
        lines.push(localized!(lang, "the training diverged at {rate:.1e}", "训练在 {rate:.1e} 处发散"));
    } else if report.steps < report.planned {
        lines.push(localized!(lang, "stopped before the end of the range", "未到范围末尾就已停止"));
    }
    lines.push(localized!(lang, "{made} in {time}, which are dropped", "{made}，用时 {time}，结果已丢弃"));
    lines.join("\n")
}
