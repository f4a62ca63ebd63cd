//! `lora`: a new adapter.

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
    name: "lora",
    aliases: &[],
    usage: "lora [NAME] [lora_rank= lora_alpha= lora_dropout= lora_target= use_rslora= use_dora= pissa_init= \
              …]",
    help: localized("create a LoRA adapter and activate it", "新建一个 LoRA 适配器并启用"),
    details: localized(
        "Until it is trained, it does not change the model's output. `all` means the linear layers of the language \
         model, and with freeze_vision_tower=false also those of the vision tower. Short names: rank, alpha, dropout, \
         target.",
        "训练之前，它不改变模型的输出。`all` 表示语言模型的所有线性层，设 freeze_vision_tower=false 则还包括视觉编码器\
         的。简称：rank、alpha、dropout、target。",
    ),
    examples: &[
        (
            "lora",
            localized(
                "rank 8, alpha 16, all linear layers of the language model",
                "秩 8，缩放系数 16，语言模型的全部线性层",
            ),
        ),
        ("lora big rank=64 alpha=128 dropout=0.1", localized("a larger one named big", "更大的一个，取名 big")),
        ("lora target=q_proj,v_proj", localized("only two kinds of layers", "只作用于两种层")),
        ("lora freeze_vision_tower=false", localized("the vision tower as well", "也训练视觉编码器")),
        ("lora use_dora=true", localized("with DoRA", "使用 DoRA")),
        ("lora additional_target=merger", localized("and the projector, trained in full", "投影器也全量训练")),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Lora, Group::Method],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    Ok(Output::Adapter(session.lora(args.word(0), &cx.context)?))
}
