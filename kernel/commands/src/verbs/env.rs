//! `env`: what a report of a problem needs to say.

use tunebook_engine::Session;

use crate::environment;
use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "env",
    aliases: &[],
    usage: "env",
    help: localized(
        "show versions, CPU, memory and devices, for a report of a problem",
        "显示版本、CPU、内存和设备，供报告问题时使用",
    ),
    details: localized(
        "The lines can be pasted into a report as they are. Of environment variables they have the names, never what is in \
         them.",
        "这些行可以原样贴到问题报告中。其中只列出环境变量的名称，不列出其内容。",
    ),
    examples: &[("env", localized("as `tunebook env` does", "与 `tunebook env` 相同"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, cx: &CommandContext) -> Result<Output> {
    Ok(Output::Text(environment(cx.lang(), cx.context.cancel)?))
}
