//! `export`: the model with an adapter merged into it.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use super::evaluate::ADAPTER;
use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "export",
    aliases: &[],
    usage: "export FOLDER [adapter= export_size=]",
    help: "write the model with the adapter merged into it",
    details: "The folder is one that transformers and `load` read, with tokenizer and processor; it must not be there \
              yet, or be empty. Weights are stored as the model's own, also where it was loaded with quantization_bit.",
    examples: &[
        ("export models/creatures", "merges the adapter that is on"),
        ("export models/creatures adapter=saves/creatures export_size=2", "another one, in files of 2 GB at most"),
    ],
    takes: Takes::Words(1, 1),
    options: &[ADAPTER],
    settings: &[Group::Export],
    complete: |_| Complete::Folders,
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    let (folder, adapter) = (parse::path(&args.words[0]), args.options(ADAPTER.name).next());
    Ok(Output::Exported(session.export(&folder, adapter, &stage.context)?))
}
