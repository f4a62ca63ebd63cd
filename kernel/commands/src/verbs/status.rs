//! `status`: what the session holds.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "status",
    aliases: &[],
    usage: "status",
    help: "what the session holds: model, data, adapters, training",
    details: "",
    examples: &[("status", "all of it at a glance")],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, _: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Status(Box::new(session.status())))
}
