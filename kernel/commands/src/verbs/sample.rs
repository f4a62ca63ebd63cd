//! `sample`: one sample as the model sees it.

use tunebook_engine::Session;
use tunebook_engine::Split;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub static VERB: Verb = Verb {
    name: "sample",
    aliases: &[],
    usage: "sample [N] [split=eval]",
    help: "show an encoded sample: pictures, tokens, what is learned",
    details: "N counts from 0. What stands between ⟦ and ⟧ is what the model learns to say.",
    examples: &[
        ("sample", "the first one to train on"),
        ("sample 41", "the 42nd"),
        ("sample split=eval", "the first one to evaluate on"),
    ],
    takes: Takes::Words(0, 1),
    options: &[VerbOption {
        name: "split",
        help: "Which samples: train or eval.",
        repeats: false,
        complete: Complete::Words(&["train", "eval"]),
    }],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    let split = match args.options("split").next() {
        None | Some("train") => Split::Train,
        Some("eval") => Split::Eval,
        Some(other) => return Err(VERB.usage_error(format!("`{other}` is no split; it is train or eval"))),
    };
    Ok(Output::Sample(session.sample(split, args.count(0, &VERB)?.unwrap_or(0))?))
}
