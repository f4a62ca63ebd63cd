//! `!`: a command of the system's shell.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::shell;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: shell::MARK,
    aliases: &[],
    usage: "! COMMAND",
    help: localized("run a command of the system's shell", "执行系统 shell 的命令"),
    details: localized(
        "It runs by `sh -c`, on Windows by `cmd /C`, in the folder of the session and without input. What it writes is \
         shown as it comes, and a training in the background goes on meanwhile. Ctrl-C ends it with all that it has \
         started. Another status than 0 is an error. A line that begins with `!` goes to the shell whole: its `#` and \
         its quotes are the shell's.",
        "由 `sh -c`（Windows 上为 `cmd /C`）在会话所在的文件夹中执行，没有输入。输出随写随显示，后台的训练继续进行。\
         Ctrl-C 终止它和它启动的所有进程。状态不为 0 即为错误。以 `!` 开头的行整行交给 shell，其中的 `#` 和引号\
         由 shell 处理。",
    ),
    examples: &[
        ("!ls saves", localized("what is in a folder", "文件夹里有什么")),
        ("!du -s saves/* | sort -n", localized("with pipes, as in a terminal", "可以用管道，和终端里一样")),
    ],
    takes: Takes::Text,
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

/// A line of a file that `run` reads; others do not come here, since the session does not wait for them.
fn run(_: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    shell::run(&args.text, &|output| (cx.show)(output), cx.context.cancel).map(|()| Output::Nothing)
}
