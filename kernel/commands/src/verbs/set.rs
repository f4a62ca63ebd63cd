//! `set`: changes settings.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;
use tunebook_engine::settings::declaration;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(crate) static VERB: Verb = Verb {
    name: "set",
    aliases: &[],
    usage: "set KEY=VALUE [KEY=VALUE…]",
    help: localized("change settings", "更改设置"),
    details: localized(
        "`show` lists the settings, `help KEY` explains one. A line with only KEY=VALUE does the same, and most \
         commands accept settings themselves: `train 10 lr=1e-4`. A setting takes effect with the next command that \
         uses it; `none` unsets an optional one.",
        "`show` 列出设置，`help KEY` 解释其中一个。只写 KEY=VALUE 的一行也一样，多数命令自己也接受设置：`train 10 \
         lr=1e-4`。设置从下一个用到它的命令起生效；`none` 取消可选的设置。",
    ),
    examples: &[
        (
            "set learning_rate=1e-4 batch=1",
            localized(
                "two at once; batch is short for per_device_train_batch_size",
                "一次两个；batch 是 per_device_train_batch_size 的简称",
            ),
        ),
        (
            "set output_dir=saves/creatures",
            localized("where train writes its log and checkpoints", "train 把日志和检查点写到哪里"),
        ),
        ("set temperature=none", localized("uses the model's default again", "重新由模型决定")),
    ],
    takes: Takes::Words(0, 2),
    options: &[],
    settings: Group::ALL,
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    if let Some(key) = args.word(0) {
        let key = declaration(key)?.name;
        let value = quote(args.word(1).unwrap_or("VALUE"));
        return Err(VERB.usage_error(localized!("write `set {key}={value}`", "请写 `set {key}={value}`")));
    }
    if args.settings.is_empty() {
        return Err(VERB.usage_error(localized!("`set` needs a setting", "`set` 需要一个设置")));
    }
    let settings = session.settings();
    let lines: Result<Vec<_>> =
        args.settings.iter().map(|(key, _)| Ok(format!("{key} = {}", settings.get(key)?))).collect();
    Ok(Output::Text(lines?.join("\n")))
}
