//! `version`: which tunebook this is.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(crate) static VERB: Verb = Verb {
    name: "version",
    aliases: &[],
    usage: "version",
    help: localized("show the version of tunebook", "显示 tunebook 的版本"),
    details: localized("", ""),
    examples: &[("version", localized("name, version and machine", "名称、版本号和机器"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Text(version()))
}

/// Name, number and machine.
pub fn version() -> String {
    format!("tunebook {} ({} {})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS)
}
