//! `save`: writes the adapter.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "save",
    aliases: &[],
    usage: "save [FOLDER]",
    help: localized(
        "save the adapter and its training log to a folder; without FOLDER: a checkpoint",
        "把适配器和训练日志保存到文件夹；不写 FOLDER 则保存检查点",
    ),
    details: localized(
        "PEFT and LLaMA-Factory can load the adapter; `adapter load FOLDER` loads it again. README.md is its model card, \
         which is left as it is once you remove the comment at its top. After `freeze` and `full`, the trained weights are \
         saved in float32; `export` writes a whole model. Without FOLDER, a checkpoint of the \
         training is saved in output_dir, and `resume` continues from it.",
        "PEFT 和 LLaMA-Factory 能加载这个适配器；`adapter load FOLDER` 把它读回来。README.md 是它的模型卡片；删掉开头的\
         注释后，就不会再被改写。用 `freeze` 或 `full` 时，以 \
         float32 保存训练过的权重；`export` 写出整个模型。不写 FOLDER 时，训练的检查点保存到 output_dir，`resume` 从那\
         里继续。",
    ),
    examples: &[
        ("save saves/creatures", localized("creates the folder if there is none", "文件夹不存在时会新建")),
        ("save", localized("checkpoint-STEP in output_dir", "output_dir 中的 checkpoint-步数")),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Folders,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    match args.word(0) {
        Some(folder) => Ok(Output::Saved(session.save(&parse::path(folder))?)),
        None => {
            let place = session.checkpoint(&cx.context)?.display().to_string();
            Ok(Output::Text(localized!(
                cx.lang(),
                "saved to {place}; `resume {place}` continues from there",
                "已保存到 {place}；`resume {place}` 从那里继续"
            )))
        }
    }
}
