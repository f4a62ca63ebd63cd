//! `resume`: goes on from a checkpoint.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "resume",
    aliases: &[],
    usage: "resume [FOLDER | latest] [KEY=VALUE…]",
    help: localized("go on from a checkpoint as if nothing had happened", "从检查点继续，如同没有中断过"),
    details: localized(
        "FOLDER is a checkpoint or an output folder, of which the latest is taken; `latest` is that of output_dir. The \
         model must be loaded; the data is read if none is chosen. The settings of the training are taken over, but \
         for those given along. `train` then goes on with the very next micro-batch, and ends with the adapter that \
         it would have had without the stop, bit for bit. Model and data that differ are refused.",
        "FOLDER 是检查点，或输出目录（取其中最新的检查点）；`latest` 取 output_dir 中最新的。模型须已加载；没有选择数据\
         时会读入数据。训练的设置沿用，同时给出的除外。之后 `train` 从下一个小批次继续，得到的适配器与没有中断时逐位\
         相同。模型或数据不同时会拒绝。",
    ),
    examples: &[
        ("resume saves/creatures", localized("from the latest checkpoint there", "从那里最新的检查点")),
        ("resume saves/creatures/checkpoint-100", localized("from this one", "从这个检查点")),
        (
            "resume latest num_train_epochs=6",
            localized("from the latest of output_dir, for more epochs", "从 output_dir 中最新的检查点，多训练几轮"),
        ),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[
        Group::Pictures,
        Group::Data,
        Group::Prompt,
        Group::Lora,
        Group::Freeze,
        Group::Method,
        Group::Training,
        Group::Evaluation,
        Group::Output,
    ],
    complete: |words| if words.is_empty() { Complete::Folders } else { Complete::Nothing },
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let folder = args.word(0).filter(|word| *word != "latest").map(parse::path);
    let is_meant = |key: &str| args.settings.iter().any(|(given, _)| *given == key);
    Ok(Output::Resumed(Box::new(session.resume(folder.as_deref(), &is_meant, &cx.context)?)))
}
