//! `watch`: the live display of the training that runs.

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
    name: "watch",
    aliases: &[],
    usage: "watch",
    help: localized("show the training that runs live, from its first step on", "实时显示正在进行的训练，从第一步开始"),
    details: localized(
        "In a notebook, its display with the whole curve goes on in this cell, while other cells run; there can be several, \
         for example after the page was reloaded. At the prompt it stands above the next line. Without a training that \
         runs, it shows the last one.",
        "在笔记本中，带完整曲线的显示在这个单元格里持续更新，其他单元格照常运行；可以有多个，例如刷新页面之后。在命令行\
         中显示在输入行的上方。没有正在进行的训练时，显示上一次训练。",
    ),
    examples: &[("watch", localized("the whole curve, here", "在这里显示完整曲线"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, cx: &CommandContext) -> Result<Output> {
    match cx.jobs.watch() {
        Some(messages) => {
            (cx.follow)(messages);
            Ok(Output::Nothing)
        }
        None => Ok(Output::Job(None)),
    }
}
