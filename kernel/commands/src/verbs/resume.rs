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

pub(super) static VERB: Verb = Verb {
    name: "resume",
    aliases: &[],
    usage: "resume [FOLDER | latest] [KEY=VALUE…]",
    help: localized(
        "resume training from a checkpoint, as if it had never stopped",
        "从检查点继续训练，如同没有中断过",
    ),
    details: localized(
        "FOLDER is a checkpoint, or an output folder, whose latest checkpoint is used; `latest` is the latest \
         checkpoint in output_dir. The model must be loaded; the data is read if none is chosen. All settings of the \
         training are restored, except those given in the command. `train` then continues with the next micro-batch \
         and ends with the adapter that an uninterrupted training would have given, bit for bit. A different model or \
         different data is refused.",
        "FOLDER 是检查点，或输出目录（用其中最新的检查点）；`latest` 是 output_dir 中最新的检查点。模型须已加载；没有\
         选择数据时会读入数据。恢复训练时的全部设置，命令中给出的除外。之后 `train` 从下一个微批次继续，得到的适配器与\
         没有中断时逐位相同。模型或数据不同时会拒绝。",
    ),
    examples: &[
        ("resume saves/creatures", localized("from the latest checkpoint in there", "从其中最新的检查点")),
        ("resume saves/creatures/checkpoint-100", localized("from this checkpoint", "从这个检查点")),
        (
            "resume latest num_train_epochs=6",
            localized("from the latest one in output_dir, for more epochs", "从 output_dir 中最新的检查点，多训练几轮"),
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
