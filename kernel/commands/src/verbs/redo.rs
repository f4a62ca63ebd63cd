//! `redo`: takes `undo` back.

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
    name: "redo",
    aliases: &[],
    usage: "redo",
    help: localized("take the last `undo` back", "撤销上一次 `undo`"),
    details: localized(
        "The training is where it was before `undo`, with its log and checkpoints. After several `undo`, `redo` takes back \
         one at a time. Once the training has gone on from where `undo` went, there is nothing to redo.",
        "训练回到 `undo` 之前的位置，日志和检查点也随之恢复。连续 `undo` 多次后，`redo` 每次撤销一次。`undo` 之后如果又训\
         练过，就不能再 `redo`。",
    ),
    examples: &[("redo", localized("forward again", "再回到前面"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, _: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Undone(session.redo()?))
}
