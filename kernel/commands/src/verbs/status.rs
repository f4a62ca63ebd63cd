//! `status`: what the session holds.

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
    name: "status",
    aliases: &[],
    usage: "status",
    help: localized("show the model, data, adapters and training of the session", "显示会话的模型、数据、适配器和训练"),
    details: localized("", ""),
    examples: &[("status", localized("everything at a glance", "一眼看全"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, _: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Status(Box::new(session.status())))
}
