//! `unload`: drops the model.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "unload",
    aliases: &[],
    usage: "unload",
    help: localized("unload the model, with its data, adapters and conversation", "卸载模型，连同数据、适配器和对话"),
    details: localized("The settings stay. Unsaved work is lost.", "设置保留。没有保存的内容会丢失。"),
    examples: &[("unload", localized("frees the memory", "释放内存"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, _: &Args, cx: &CommandContext) -> Result<Output> {
    session.unload()?;
    Ok(Output::Text(localized("the model is unloaded", "模型已卸载").in_lang(cx.lang()).to_string()))
}
