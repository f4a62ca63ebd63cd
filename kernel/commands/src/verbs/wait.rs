//! `wait`: the end of the training in the background.

use tunebook_engine::Session;

use crate::error::Error;
use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "wait",
    aliases: &["fg"],
    usage: "wait",
    help: localized("wait for the end of the training in the background", "等后台的训练结束"),
    details: localized(
        "It shows the training as if it had been started without `&`, and Ctrl-C (or an interrupt) stops it as it would \
         then.",
        "像没有用 `&` 启动一样显示训练；此时 Ctrl-C（或中断）会停止训练。",
    ),
    examples: &[("wait", localized("to the end of its steps", "直到它的步数训练完"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, cx: &CommandContext) -> Result<Output> {
    if cx.can_wait { Ok(Output::Wait) } else { Err(Error::CannotWait) }
}
