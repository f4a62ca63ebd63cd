//! `full`: trains all of the model.

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
    name: "full",
    aliases: &[],
    usage: "full [NAME] [freeze_vision_tower= freeze_multi_modal_projector= freeze_language_model=]",
    help: "train all weights of the model that are not frozen",
    details: "Copies of them take the place of the model's own and are trained; `adapter off` brings the model's back. \
              `export` writes a whole model. Each trained parameter takes 16 bytes of memory.",
    examples: &[
        ("full", "the language model"),
        ("full freeze_language_model=true freeze_multi_modal_projector=false", "only the projector"),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Method],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Adapter(session.full(args.word(0))?))
}
