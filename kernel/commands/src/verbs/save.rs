//! `save`: writes the adapter.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "save",
    aliases: &[],
    usage: "save FOLDER",
    help: "write the adapter and the log of its training to a folder",
    details: "The adapter is one that PEFT and LLaMA-Factory load; `adapter load FOLDER` brings it back.",
    examples: &[("save saves/creatures", "makes the folder where there is none")],
    takes: Takes::Words(1, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Folders,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Saved(session.save(&parse::path(&args.words[0]))?))
}
