//! `adapter`: the adapters of the session, several at once.

use tunebook_engine::Session;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "adapter",
    aliases: &[],
    usage: "adapter list | load FOLDER [as NAME] | use NAME | off | drop NAME",
    help: localized("list, load, switch, turn off or drop adapters", "列出、加载、切换、关闭或丢弃适配器"),
    details: localized(
        "FOLDER is written by `save` or by PEFT. Switching takes no time, since the model itself does not change.",
        "FOLDER 由 `save` 或 PEFT 写成。切换不花时间，因为模型本身不变。",
    ),
    examples: &[
        ("adapter list", localized("lists all of them and marks the active one", "列出全部，并标出启用的那个")),
        (
            "adapter load saves/creatures as old",
            localized("loads one as `old` and activates it", "加载一个，取名 old，并启用"),
        ),
        ("adapter use default", localized("activates another one", "启用另一个")),
        ("adapter off", localized("uses the base model alone", "只用基础模型")),
        ("adapter drop old", localized("drops one; its files stay", "丢弃一个；它的文件保留")),
    ],
    takes: Takes::Words(0, 4),
    options: &[],
    settings: &[],
    complete,
    run,
};

fn complete(words: &[&str]) -> Complete {
    match words {
        [] => Complete::Words(&["list", "load", "use", "off", "drop"]),
        ["load"] => Complete::Folders,
        ["load", _] => Complete::Words(&["as"]),
        ["use" | "drop"] => Complete::Adapters,
        _ => Complete::Nothing,
    }
}

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let words: Vec<_> = args.words.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["list"] => Ok(Output::Adapters(session.adapters())),
        ["load", folder] => Ok(Output::Adapter(session.adapter_load(&parse::path(folder), None)?)),
        ["load", folder, "as", name] => Ok(Output::Adapter(session.adapter_load(&parse::path(folder), Some(name))?)),
        ["use", name] => Ok(Output::Adapter(session.adapter_use(name)?)),
        ["off"] => {
            session.adapter_off()?;
            const OFF: Localized =
                localized("no adapter is active: the base model answers", "没有启用适配器：由基础模型回答");
            Ok(Output::Text(OFF.in_lang(cx.lang()).to_string()))
        }
        ["drop", name] => {
            session.adapter_drop(name)?;
            Ok(Output::Text(localized!(cx.lang(), "dropped the adapter `{name}`", "已丢弃适配器 `{name}`")))
        }
        _ => {
            let words = quote(&words.join(" "));
            Err(VERB.usage_error(localized!("`adapter {words}` is not a command", "没有 `adapter {words}` 这个命令")))
        }
    }
}
