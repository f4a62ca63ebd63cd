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

pub static VERB: Verb = Verb {
    name: "export",
    aliases: &[],
    usage: "export FOLDER [adapter= export_size=]",
    help: localized("write the model with the adapter merged into it", "写出合并了适配器的模型"),
    details: localized(
        "The folder is one that transformers and `load` read, with tokenizer and processor; it must not be there \
         yet, or be empty. Weights are stored as the model's own, also where it was loaded with quantization_bit.",
        "写成 transformers 和 `load` 能读的文件夹，带分词器和处理器；文件夹必须还不存在或是空的。权重按模型自身的精\
         度存储，即使加载时用了 quantization_bit。",
    ),
    examples: &[
        ("export models/creatures", localized("merges the adapter that is on", "合并启用的适配器")),
        (
            "export models/old adapter=saves/creatures export_size=2",
            localized("another one, in files of 2 GB at most", "合并另一个，每个文件最大 2 GB"),
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
