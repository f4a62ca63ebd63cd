//! `full`: trains all of the model.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "full",
    aliases: &[],
    usage: "full [NAME] [freeze_vision_tower= freeze_multi_modal_projector= freeze_language_model=]",
    help: localized("train all weights of the model that are not frozen", "训练模型中没有冻结的全部权重"),
    details: localized(
        "The weights are copied, and the copies are trained in place of the model's own; `adapter off` goes back to \
         the model's own weights. `export` writes a whole model. Each trained parameter takes 16 bytes of memory.",
        "权重会被复制，训练的是副本；`adapter off` 换回模型自身的权重。`export` 写出整个模型。每个可训练参数占 16 字节\
         内存。",
    ),
    examples: &[
        ("full", localized("the language model", "语言模型")),
        (
            "full freeze_language_model=true freeze_multi_modal_projector=false",
            localized("only the projector", "只训练投影器"),
        ),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Method],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Adapter(session.full(args.word(0))?))
}
