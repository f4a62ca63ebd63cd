//! `print`: says something, in a script.

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
    name: "print",
    aliases: &[],
    usage: "print TEXT",
    help: localized("print a text, in a script", "在脚本中打印一段文字"),
    details: localized("", ""),
    examples: &[("print Now the second adapter:", localized("prints this text", "打印这段文字"))],
    takes: Takes::Text,
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Text(args.text.clone()))
}
