//! The reports of `train` and `resume`, as plain text.

use tunebook_engine::difference::SettingDifference;
use tunebook_engine::report::BestReport;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::ResumeReport;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::report::TrainReport;

use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::quantities::EVALUATION;
use crate::quantities::SAMPLE;
use crate::quantities::STEP;
use crate::quantities::count;
use crate::quantities::seconds;
use crate::text::results::bad_samples;

/// A line of the log.
pub(super) fn step(record: &StepRecord, lang: Lang) -> String {
    let &StepRecord { step, total_steps, grad_norm, epoch, .. } = record;
    let loss = record.loss();
    let (width, rate) = (total_steps.to_string().len(), rate(record.learning_rate));
    let step = format!("{step:>width$}");
    localized!(
        lang,
        "step {step}/{total_steps}  loss {loss:.4}  grad_norm {grad_norm:.4}  lr {rate}  epoch {epoch:.2}",
        "步 {step}/{total_steps}  损失 {loss:.4}  梯度范数 {grad_norm:.4}  学习率 {rate}  轮 {epoch:.2}"
    )
}

/// The line of an evaluation.
pub(super) fn evaluation(record: &EvaluationRecord, lang: Lang) -> String {
    let &EvaluationRecord { step, total_steps, loss, seconds, .. } = record;
    let width = total_steps.to_string().len();
    let (step, samples) = (format!("{step:>width$}"), count(record.samples, SAMPLE, lang));
    localized!(
        lang,
        "step {step}/{total_steps}  eval_loss {loss:.4}  ({samples} in {seconds:.2} s)",
        "步 {step}/{total_steps}  评估损失 {loss:.4}  （{samples}，用时 {seconds:.2} 秒）"
    )
}

/// A learning rate, which may be 0 while it warms up.
fn rate(rate: f64) -> String {
    if rate == 0.0 { "0".to_string() } else { format!("{rate:.3e}") }
}

/// How a call of `train` ended.
pub(super) fn trained(report: &TrainReport, lang: Lang) -> String {
    let (step, total) = (report.step, report.total_steps);
    let best = report.best.as_ref().map(|best| format!("\n{}", self::best(best, lang))).unwrap_or_default();
    if report.steps == 0 && report.end == TrainEnd::Finished {
        return localized!(
            lang,
            "all {total} steps are done; to train longer, raise num_train_epochs (or max_steps){best}",
            "{total} 步都已训练完；要继续训练，请调大 num_train_epochs（或 max_steps）{best}"
        );
    }
    let end = match report.end {
        TrainEnd::Paused => {
            localized!(
                lang,
                "at step {step} of {total}; `train` continues",
                "第 {step} 步，共 {total} 步；再次 `train` 继续"
            )
        }
        TrainEnd::Finished => {
            localized!(lang, "finished at step {step} of {total}", "训练结束，第 {step} 步，共 {total} 步")
        }
        TrainEnd::StoppedEarly => {
            let evaluations = report.best.as_ref().map_or(0, |best| best.evaluations_since);
            let evaluations = count(evaluations, EVALUATION, lang);
            localized!(
                lang,
                "stopped early at step {step} of {total}: {evaluations} in a row without a lower eval_loss",
                "早停：停在第 {step} 步，共 {total} 步，连续 {evaluations}没有更低的 eval_loss"
            )
        }
        TrainEnd::Interrupted => localized!(
            lang,
            "stopped at step {step} of {total}; `train` continues from there",
            "停在第 {step} 步，共 {total} 步；再次 `train` 从这里继续"
        ),
    };
    let loss =
        report.loss.map(|loss| localized!(lang, ", mean loss {loss:.4}", "，平均损失 {loss:.4}")).unwrap_or_default();
    let (made, time) = (count(report.steps, STEP, lang), seconds(report.elapsed, lang));
    let rate = Some(report.tokens_per_second).filter(|rate| *rate > 0.0);
    let rate = rate.map(|rate| localized!(lang, ", {rate:.0} tokens/s", "，{rate:.0} token/秒")).unwrap_or_default();
    let end = end + &bad_samples(report.left_out.len(), lang);
    localized!(lang, "{made} in {time}{loss}{rate}; {end}{best}", "{made}，用时 {time}{loss}{rate}；{end}{best}")
}

fn best(best: &BestReport, lang: Lang) -> String {
    let BestReport { step, eval_loss, checkpoint, loaded, .. } = best;
    let place = checkpoint.as_ref().map(|place| place.display());
    let place = match (place, loaded) {
        (Some(place), true) => {
            localized!(lang, "; the adapter of {place} is loaded again", "；已换回 {place} 的适配器")
        }
        (Some(place), false) => localized!(lang, ", saved in {place}", "，保存在 {place}"),
        (None, _) => String::new(),
    };
    localized!(
        lang,
        "lowest eval_loss {eval_loss:.4} at step {step}{place}",
        "最低的 eval_loss 为 {eval_loss:.4}，在第 {step} 步{place}"
    )
}

/// Where `resume` goes on.
pub(super) fn resumed(report: &ResumeReport, lang: Lang) -> String {
    let ResumeReport { checkpoint, adapter, step, total_steps, micro_batches, taken, differing, .. } = report;
    let open = match micro_batches {
        0 => String::new(),
        1 => localized(" and 1 micro-batch of the next one", "和下一步的 1 个微批次").in_lang(lang).to_string(),
        done => localized!(lang, " and {done} micro-batches of the next one", "和下一步的 {done} 个微批次"),
    };
    let place = checkpoint.display();
    let mut text = localized!(
        lang,
        "adapter `{adapter}` is active, after step {step} of {total_steps}{open}, from {place}",
        "适配器 `{adapter}` 已启用，已完成第 {step} 步（共 {total_steps} 步）{open}，来自 {place}"
    );
    if !taken.is_empty() {
        let taken = taken.join(", ");
        text += &localized!(lang, "\nrestored settings: {taken}", "\n恢复的设置：{taken}");
    }
    if !differing.is_empty() {
        let list = differing.iter().map(|SettingDifference { key, then, now }| {
            localized!(lang, "{key} was {then} and is {now}", "{key} 当时为 {then}，现在为 {now}")
        });
        let list = list.collect::<Vec<_>>().join(localized(", ", "；").in_lang(lang));
        text += &localized!(
            lang,
            "\nchanged since then, so the result will differ: {list}",
            "\n与当时不同，因此结果也会不同：{list}"
        );
    }
    if step < total_steps {
        text + localized("\n`train` continues", "\n用 `train` 继续").in_lang(lang)
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_early_stop_says_why_and_where_the_best_is() {
        let best = BestReport {
            step: 10,
            eval_loss: 1.25,
            checkpoint: Some("out/checkpoint-10".into()),
            loaded: false,
            evaluations_since: 3,
        };
        let mut report = TrainReport {
            end: TrainEnd::StoppedEarly,
            steps: 40,
            step: 40,
            total_steps: 100,
            loss: Some(1.0),
            best: Some(best),
            left_out: Vec::new(),
            tokens_per_second: 123.4,
            elapsed: Duration::from_secs(5),
        };
        assert_eq!(
            trained(&report, Lang::En),
            "40 steps in 5.00 s, mean loss 1.0000, 123 tokens/s; stopped early at step 40 of 100: 3 evaluations in a \
             row without a lower eval_loss\nlowest eval_loss 1.2500 at step 10, saved in out/checkpoint-10"
        );
        report.best.iter_mut().for_each(|best| best.loaded = true);
        assert!(trained(&report, Lang::En).ends_with("at step 10; the adapter of out/checkpoint-10 is loaded again"));
    }
}
