//! `freeze`: trains some of the model's own layers.

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
    name: "freeze",
    aliases: &[],
    usage: "freeze [NAME] [freeze_trainable_layers= freeze_trainable_modules= freeze_extra_modules=]",
    help: localized("train some of the model's layers, without LoRA", "不用 LoRA，训练模型的一部分层"),
    details: localized(
        "The layers are copied, and the copies are trained in place of the model's own; `adapter off` goes back to the \
         model's own layers. `export` writes a whole model. Each trained parameter takes 16 bytes of memory.",
        "这些层会被复制，训练的是副本；`adapter off` 换回模型自身的层。`export` 写出整个模型。每个可训练参数占 16 字节\
         内存。",
    ),
    examples: &[
        ("freeze", localized("the last two layers of the language model", "语言模型的最后两层")),
        (
            "freeze freeze_trainable_layers=-1 freeze_trainable_modules=mlp",
            localized("the MLP of the first layer", "第一层的 MLP"),
        ),
        (
            "freeze head freeze_trainable_layers=1 freeze_multi_modal_projector=false",
            localized("the last layer and the projector", "最后一层和投影器"),
        ),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Freeze, Group::Method],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Adapter(session.freeze(args.word(0))?))
}
