//! `sample`: one sample as the model sees it.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "sample",
    aliases: &[],
    usage: "sample [N]",
    help: "show an encoded sample: pictures, tokens, what is learned",
    details: "N counts from 0. What stands between ⟦ and ⟧ is what the model learns to say.",
    examples: &[("sample", "the first one"), ("sample 41", "the 42nd")],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Sample(session.sample(args.count(0, &VERB)?.unwrap_or(0))?))
}
