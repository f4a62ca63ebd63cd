//! `run`: the commands of a file.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::run::run_file;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "run",
    aliases: &[],
    usage: "run FILE",
    help: localized("run the commands in a file", "执行一个文件中的命令"),
    details: localized(
        "It stops at the first error and reports its line. In a file, `#` begins a comment, and `\\` at the end of a \
         line continues it on the next one.",
        "遇到第一个错误就停止，并指出行号。文件中 `#` 开始注释，行尾的 `\\` 表示与下一行相接。",
    ),
    examples: &[("run creatures.tune", localized("as if its lines were typed in", "就像逐行输入一样"))],
    takes: Takes::Words(1, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Files,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    run_file(&parse::path(&args.words[0]), session, cx)
}
