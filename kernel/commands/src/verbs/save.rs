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
    usage: "save [FOLDER]",
    help: "write the adapter and the log of its training to a folder; alone: a checkpoint",
    details: "The adapter is one that PEFT and LLaMA-Factory load; `adapter load FOLDER` brings it back. Of `freeze` and \
              `full`, the trained weights are written, in float32; `export` writes a whole model. Without a folder, a \
              checkpoint of the training goes to output_dir, from which `resume` goes on.",
    examples: &[
        ("save saves/creatures", "makes the folder where there is none"),
        ("save", "checkpoint-STEP in output_dir"),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Folders,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    match args.word(0) {
        Some(folder) => Ok(Output::Saved(session.save(&parse::path(folder))?)),
        None => {
            let place = session.checkpoint()?.display().to_string();
            Ok(Output::Text(format!("saved to {place}; `resume {place}` goes on from there")))
        }
    }
}
