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

pub static VERB: Verb = Verb {
    name: "save",
    aliases: &[],
    usage: "save [FOLDER]",
    help: localized(
        "write the adapter and the log of its training to a folder; alone: a checkpoint",
        "把适配器和训练日志写到文件夹；单独使用时写检查点",
    ),
    details: localized(
        "The adapter is one that PEFT and LLaMA-Factory load; `adapter load FOLDER` brings it back. Of `freeze` and \
         `full`, the trained weights are written, in float32; `export` writes a whole model. Without a folder, a \
         checkpoint of the training goes to output_dir, from which `resume` goes on.",
        "适配器的格式是 PEFT 和 LLaMA-Factory 能加载的；`adapter load FOLDER` 把它读回来。`freeze` 和 `full` 写出训练过\
         的权重（float32）；`export` 写出整个模型。不写文件夹时，把训练的检查点写到 output_dir，`resume` 从那里继续。",
    ),
    examples: &[
        ("save saves/creatures", localized("makes the folder where there is none", "文件夹不存在时会新建")),
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
                "saved to {place}; `resume {place}` goes on from there",
                "已保存到 {place}；`resume {place}` 从那里继续"
            )))
        }
    }
}
