//! `unload`: drops the model.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "unload",
    aliases: &[],
    usage: "unload",
    help: "drop the model, its data, adapters and conversation",
    details: "The settings stay. What is not saved is lost.",
    examples: &[("unload", "frees the memory")],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, _: &Args, _: &Stage) -> Result<Output> {
    session.unload()?;
    Ok(Output::Text("the model is unloaded".to_string()))
}
