//! `jobs`: the training in the background.

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
    name: "jobs",
    aliases: &[],
    usage: "jobs",
    help: localized("show the training in the background", "显示后台的训练"),
    details: localized(
        "How far the training is that runs, or how the last one ended. One trains at a time.",
        "正在进行的训练到了哪里，或上一次训练怎样结束。同一时间只有一个训练。",
    ),
    examples: &[("jobs", localized("how far it is", "到了哪一步"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, cx: &CommandContext) -> Result<Output> {
    Ok(Output::Job(cx.jobs.report(cx.lang())))
}
