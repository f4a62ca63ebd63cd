//! What `train N &` and `jobs` say, as plain text.

use crate::jobs::JobReport;
use crate::jobs::JobState;
use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::quantities::seconds;

/// A training has begun in the background.
pub(super) fn started(adapter: &str, step: usize, last_step: usize, lang: Lang) -> String {
    let first = step + 1;
    localized!(
        lang,
        "training `{adapter}` in the background, steps {first} to {last_step}; `jobs`, `watch`, `wait` and `stop` are about it",
        "正在后台训练 `{adapter}`，第 {first} 到 {last_step} 步；`jobs` 查看，`watch` 跟踪，`wait` 等待，`stop` 停止"
    )
}

/// How far it is.
pub(super) fn job(report: Option<&JobReport>, lang: Lang) -> String {
    let Some(report) = report else {
        return localized("no training is running", "没有正在进行的训练").in_lang(lang).to_string();
    };
    let JobReport { adapter, state, step, last_step, total_steps, loss, elapsed } = report;
    let state = match state {
        JobState::Running => localized!(lang, "training", "正在训练"),
        JobState::Stopping => localized!(lang, "stopping", "正在停止"),
        JobState::Done => localized!(lang, "done", "已完成"),
        JobState::Stopped => localized!(lang, "stopped", "已停止"),
        JobState::Failed(error) => localized!(lang, "failed ({error})", "失败（{error}）"),
    };
    let loss = loss.map(|loss| localized!(lang, ", loss {loss:.4}", "，损失 {loss:.4}")).unwrap_or_default();
    let of_all = match last_step == total_steps {
        true => String::new(),
        false => localized!(lang, " (of {total_steps} in all)", "（总共 {total_steps} 步）"),
    };
    let took = seconds(*elapsed, lang);
    localized!(
        lang,
        "`{adapter}`: {state}, step {step} of {last_step}{of_all}{loss}, {took}",
        "`{adapter}`：{state}，第 {step} 步，共 {last_step} 步{of_all}{loss}，用时 {took}"
    )
}
