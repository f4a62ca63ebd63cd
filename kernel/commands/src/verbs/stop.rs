//! `stop`: ends the training in the background.

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
    name: "stop",
    aliases: &[],
    usage: "stop",
    help: localized("stop the training in the background", "停止后台的训练"),
    details: localized(
        "It stops immediately, or after the current micro-batches if part of the step is already accumulated, and writes a \
         checkpoint if output_dir is set; `train` continues from there.",
        "立即停止；如果这一步已累积了一部分，则等当前的微批次完成后停止。设了 output_dir 时会写检查点；再次 `train` 从那里\
         继续。",
    ),
    examples: &[("stop", localized("as Ctrl-C does where somebody waits", "与等待训练时按 Ctrl-C 相同"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, cx: &CommandContext) -> Result<Output> {
    Ok(match cx.jobs.stop() {
        false => Output::Job(None),
        true if cx.can_wait => Output::Wait,
        true => Output::Job(cx.jobs.report(cx.lang())),
    })
}
