//! `rust`: Rust that drives the session.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::rust::RustError;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "rust",
    aliases: &[],
    usage: "rust CODE",
    help: localized(
        "run Rust code that drives the session; %%rust begins a block",
        "运行驱动会话的 Rust 代码；%%rust 开始\
                                                                                一段代码",
    ),
    details: localized(
        "`session()` is the live session; its methods are run, load, data, lora, set, get, step, train, history, \
         evaluate, predict, chat, adapters, plot and tensors. Variables and functions are kept from one line to the \
         next; `:dep NAME = \"VERSION\"` adds a crate, `:vars` lists the variables. A block runs from a line with \
         `%%rust` to an empty line, in a file to one before a command, in a notebook to the end of the cell. Ctrl-C \
         first stops the session's work, and a little later code that does not end by itself. Rust needs cargo and \
         rustc; the first line takes some seconds.",
        "`session()` 是当前会话，方法有 run、load、data、lora、set、get、step、train、history、evaluate、predict、\
         chat、adapters、plot 和 tensors。变量和函数在各行之间保留；`:dep NAME = \"VERSION\"` 添加 crate，`:vars` 列出\
         变量。一段代码从 `%%rust` 那一行到空行为止，在文件中到命令前的空行，在笔记本中到单元格结尾。Ctrl-C 先停止会话\
         的工作，稍后再停止没有自行结束的代码。需要 cargo 和 rustc；第一行要用几秒。",
    ),
    examples: &[
        ("rust session().step()", localized("the result of a call", "调用的结果")),
        (
            "rust let made = session().train(5)?; made.loss",
            localized("five steps, and their mean loss", "五步及其平均损失"),
        ),
        (
            "rust session().set(\"learning_rate\", made.learning_rate / 2.0)?",
            localized("with a variable from the line before", "使用上一行的变量"),
        ),
    ],
    takes: Takes::Text,
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

/// Faces hand Rust to who runs it; here arrives what a file says.
fn run(_: &mut Session, _: &Args, _: &CommandContext) -> Result<Output> {
    Err(RustError::NotHere.into())
}
