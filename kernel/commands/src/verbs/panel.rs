//! `panel`: the page that drives the session.

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
    name: "panel",
    aliases: &[],
    usage: "panel",
    help: localized(
        "a page with forms, curve and chat, for this session",
        "打开带表单、曲线和对话的网页面板，操作本会话",
    ),
    details: localized(
        "The page has what LLaMA-Factory's web page has: model, data, method, training with its curve, evaluation, chat, \
         export. It drives this session and shows each command that a click stands for, so what was clicked is a script \
         afterwards; what others do with the session it shows, too. In a notebook it is drawn in the cell, which takes \
         anywidget (`pip install anywidget`); at a prompt its address is shown, and `tunebook panel` opens one without a \
         prompt.",
        "面板具备 LLaMA-Factory 网页的功能：模型、数据、微调方法、训练与曲线、评估、对话、导出。它操作的就是本会话，每次点击都\
         显示对应的命令，因此点击过的内容就是一份脚本；别人对会话做的操作也会显示出来。在笔记本中面板画在单元格里，需要 \
         anywidget（`pip install anywidget`）；在命令行中显示它的网址；`tunebook panel` 不带提示符直接打开。",
    ),
    examples: &[("panel", localized("in a notebook, in this cell", "在笔记本中，就在这个单元格里"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(_: &mut Session, _: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Panel)
}
