//! `quit`: the end.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "quit",
    aliases: &["exit"],
    usage: "quit",
    help: "leave tunebook; what is not saved is lost",
    details: "In a script, the lines below are not carried out. Ctrl-D at an empty prompt does the same.",
    examples: &[("quit", "leaves")],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Quit)
}
