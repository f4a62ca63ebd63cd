//! `clear`: an empty page.

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
    name: "clear",
    aliases: &[],
    usage: "clear",
    help: localized("clear the terminal, or the output of the cell so far", "清空终端，或清空单元格到目前为止的输出"),
    details: localized(
        "The session does not change: `chat clear` clears the conversation, `unload` unloads the model.",
        "会话保持不变：`chat clear` 清空对话，`unload` 卸载模型。",
    ),
    examples: &[("clear", localized("an empty screen", "清空屏幕"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Clear)
}
