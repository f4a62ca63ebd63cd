//! `clear`: an empty page.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "clear",
    aliases: &[],
    usage: "clear",
    help: "wipe the terminal, or the outputs of the cell so far",
    details: "The session stays as it is; `chat clear` forgets the conversation, `unload` the model.",
    examples: &[("clear", "an empty page")],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Clear)
}
