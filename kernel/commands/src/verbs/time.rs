//! `time`: how long a line takes.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::script::Line;
use crate::timing;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: timing::VERB,
    aliases: &[],
    usage: "time LINE",
    help: localized(
        "carry out a line and tell how long it took; %%time begins a cell",
        "执行一行并显示用时；%%time 用于一个单元格",
    ),
    details: localized(
        "The line is carried out as always. Then come the time on the CPUs, of this process and of those that it has \
         started and that have ended, and the time on the clock. `%%time` as the first line of a cell does so with the \
         rest of it; at the prompt and in a file the rest goes to an empty line. Of a training in the background only \
         its beginning is timed.",
        "照常执行这一行，然后显示 CPU 时间（本进程和由它启动、已结束的进程）和实际用时。单元格第一行写 `%%time` 则对其余\
         各行计时；在提示符和文件中到空行为止。后台训练只计其开始的时间。",
    ),
    examples: &[
        ("%time evaluate", localized("how long an evaluation takes", "一次评估用多长时间")),
        ("time !du -s saves", localized("a command of the shell", "shell 的命令")),
    ],
    takes: Takes::Text,
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

/// A line of a file that `run` reads.
fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    if args.text.is_empty() {
        return Err(VERB.usage_error(localized!("`time` needs a line", "`time` 后面要写一行命令")));
    }
    timing::run_lines(&[Line { number: 1, text: args.text.clone() }], session, cx)
}
