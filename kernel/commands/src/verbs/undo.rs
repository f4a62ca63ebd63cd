//! `undo`: back to an earlier step of the training.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "undo",
    aliases: &[],
    usage: "undo [N]",
    help: localized(
        "go back N optimizer steps, or before the last `train`",
        "退回 N 个优化步，或退回上一次 `train` 之前",
    ),
    details: localized(
        "Everything about the training of the active adapter is what it was then, to the bit: weights, optimizer moments, \
         order of samples, schedule, log, plots, answers to probes. Settings stay as they are now. Steps between two kept \
         states are computed once more; a long wait is announced first, and Ctrl-C leaves everything as it was. In \
         output_dir, later log entries are removed and later checkpoints moved to output_dir/undone. `redo` takes it back, \
         until the training goes on.",
        "启用的适配器的训练完全恢复到当时的状态，逐位相同：权重、优化器的动量、样本顺序、学习率调度、日志、曲线和探针的回\
         答。设置保持现在的值。两个保留的状态之间的步会重新计算；要等较久时会先说明，按 Ctrl-C 则一切保持原样。\
         output_dir 中，之后的日志会被删去，之后的检查点移到 output_dir/undone。`redo` 撤销这次退回，直到再次训练为止。",
    ),
    examples: &[
        ("undo 5", localized("five steps back", "退回五步")),
        ("undo", localized("before the last `train`", "退回上一次 `train` 之前")),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    Ok(Output::Undone(session.undo(args.count(0, &VERB)?, &cx.context)?))
}
