//! Going back in a training, and forward again.

use tunebook_engine::difference::SettingDifference;
use tunebook_engine::report::UndoReport;

use crate::lang::Lang;
use crate::localized;
use crate::quantities::MICRO_BATCH;
use crate::quantities::STEP;
use crate::quantities::count;
use crate::quantities::seconds;

pub(super) fn undone(report: &UndoReport, lang: Lang) -> String {
    let UndoReport { adapter, from, step, open_micro_batches, .. } = report;
    let open = match open_micro_batches {
        0 => String::new(),
        open => {
            let open = count(*open, MICRO_BATCH, lang);
            localized!(lang, " and {open} of the next", "，下一步已有 {open}")
        }
    };
    let mut text = localized!(
        lang,
        "the training of `{adapter}` is at step {step}{open} (it was at {from})",
        "`{adapter}` 的训练现在位于第 {step} 步{open}（之前为第 {from} 步）"
    );
    if report.replayed > 0 {
        let (steps, time) = (count(report.replayed, STEP, lang), seconds(report.elapsed, lang));
        text += &localized!(lang, "; {steps} computed once more in {time}", "；重新计算了 {steps}，用时 {time}");
    }
    for SettingDifference { key, then, now } in &report.differing {
        text += &localized!(lang, "\n{key} was {then} then and stays {now}", "\n{key} 当时是 {then}，现在仍为 {now}");
    }
    if let Some(folder) = &report.set_aside {
        let folder = folder.display();
        text += &localized!(lang, "\nlater checkpoints were moved to {folder}", "\n之后的检查点已移到 {folder}");
    }
    if report.undone > 0 {
        text += &match report.can_redo {
            true => localized!(lang, "\n`redo` goes forward again", "\n`redo` 可回到之前的位置"),
            false => localized!(
                lang,
                "\nthere was no room to keep the steps that were undone, so `redo` cannot bring them back",
                "\n空间不够，没能保留退回的步，因此无法 `redo`"
            ),
        };
    }
    text
}
