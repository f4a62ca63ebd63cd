//! `export`: the model with an adapter merged into it.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use super::evaluate::ADAPTER;
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
    name: "export",
    aliases: &[],
    usage: "export FOLDER [adapter= export_size=]",
    help: localized("write the model with the adapter merged into it", "写出合并了适配器的模型"),
    details: localized(
        "The folder can be read by transformers and by `load`; it includes tokenizer and processor. It must be empty \
         or not exist yet. Weights are stored in the dtype of the model's files, even if it was loaded with \
         quantization_bit.",
        "写成 transformers 和 `load` 都能读的文件夹，包括分词器和处理器；文件夹必须是空的或还不存在。权重按模型文件的\
         精度存储，即使加载时用了 quantization_bit。",
    ),
    examples: &[
        ("export models/creatures", localized("merges the active adapter", "合并启用的适配器")),
        (
            "export models/old adapter=saves/creatures export_size=2",
            localized("merges another one, in files of at most 2 GB", "合并另一个，每个文件最大 2 GB"),
        ),
    ],
    takes: Takes::Words(1, 1),
    options: &[ADAPTER],
    settings: &[Group::Export],
    complete: |_| Complete::Folders,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let (folder, adapter) = (parse::path(&args.words[0]), args.options(ADAPTER.name).next());
    Ok(Output::Exported(session.export(&folder, adapter, &cx.context)?))
}
