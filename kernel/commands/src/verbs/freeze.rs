//! `freeze`: trains some of the model's own layers.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "freeze",
    aliases: &[],
    usage: "freeze [NAME] [freeze_trainable_layers= freeze_trainable_modules= freeze_extra_modules=]",
    help: "train some of the model's layers, without LoRA",
    details: "Copies of these layers take the place of the model's own and are trained; `adapter off` brings the model's \
              back. `export` writes a whole model. Each trained parameter takes 16 bytes of memory.",
    examples: &[
        ("freeze", "the last two layers of the language model"),
        ("freeze freeze_trainable_layers=-1 freeze_trainable_modules=mlp", "the feed-forward part of the first one"),
        ("freeze head freeze_trainable_layers=1 freeze_multi_modal_projector=false", "the last one and the projector"),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Freeze, Group::Method],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Adapter(session.freeze(args.word(0))?))
}
