//! `quit`: the end.

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
    name: "quit",
    aliases: &["exit"],
    usage: "quit",
    help: localized("quit tunebook; unsaved work is lost", "退出 tunebook；没有保存的内容会丢失"),
    details: localized(
        "In a script, the remaining lines are not run. Ctrl-D at an empty prompt does the same.",
        "在脚本中，后面的行不再执行。在空的提示符下按 Ctrl-D 也一样。",
    ),
    examples: &[("quit", localized("quits", "退出"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Quit)
}
