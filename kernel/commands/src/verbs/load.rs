//! `load`: a model out of a folder.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "load",
    aliases: &[],
    usage: "load FOLDER [dtype= image_max_pixels= image_min_pixels=]",
    help: "load a Qwen2.5-VL model out of a folder",
    details: "The folder is laid out as on the hub: config.json, tokenizer.json, *.safetensors and so on. \
              A model that is loaded already is dropped, with its data, adapters and conversation.",
    examples: &[
        ("load models/Qwen2.5-VL-3B-Instruct", "computes as the weights are stored"),
        ("load models/Qwen2.5-VL-3B-Instruct dtype=float32", "slower and more exact"),
    ],
    takes: Takes::Words(1, 1),
    options: &[],
    settings: &[Group::Model, Group::Pictures],
    complete: |_| Complete::Folders,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Loaded(session.load(&parse::path(&args.words[0]))?))
}
