//! `run`: the commands of a file.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::run::run_file;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "run",
    aliases: &[],
    usage: "run FILE",
    help: "carry out the commands of a file",
    details: "It stops at the first error and says at which line. In a file, `#` begins a comment and `\\` at the end of \
              a line joins the next one to it.",
    examples: &[("run creatures.tune", "as if its lines were typed")],
    takes: Takes::Words(1, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Files,
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    run_file(&parse::path(&args.words[0]), session, stage)
}
