//! `lang`: the language of help, answers, advice and errors.

use tunebook_engine::Session;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "lang",
    aliases: &[],
    usage: "lang [en | zh]",
    help: localized("choose the language: English or Chinese", "选择语言：英文或中文"),
    details: localized(
        "By default it follows LC_ALL, LC_MESSAGES or LANG. Commands, settings and files are the same in both \
         languages.",
        "默认取自 LC_ALL、LC_MESSAGES 或 LANG。命令、设置和文件在两种语言下都相同。",
    ),
    examples: &[
        ("lang zh", localized("Chinese from here on", "从现在起用中文")),
        ("lang en", localized("English from here on", "从现在起用英文")),
        ("lang", localized("shows the current one", "显示当前语言")),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |words| if words.is_empty() { Complete::Words(&["en", "zh"]) } else { Complete::Nothing },
    run,
};

fn run(_: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    match args.word(0) {
        None => {}
        Some("en") => cx.language.set(Lang::En),
        Some("zh") => cx.language.set(Lang::Zh),
        Some(other) => {
            return Err(VERB.usage_error(localized!(
                "the language must be en or zh, not `{other}`",
                "语言应为 en 或 zh，而不是 `{other}`",
                other = quote(other)
            )));
        }
    }
    Ok(Output::Text(localized("English", "中文").in_lang(cx.lang()).to_string()))
}
