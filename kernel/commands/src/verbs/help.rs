//! `help`: made from the declarations of verbs and settings.

use tunebook_engine::Session;
use tunebook_engine::nearest::nearest;
use tunebook_engine::settings;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::declaration;
use tunebook_engine::settings::declarations;
use tunebook_quote::quote;
use unicode_width::UnicodeWidthStr;

use crate::error::Error;
use crate::error::Result;
use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::output::Table;
use crate::page::padded;
use crate::page::wrap;
use crate::parse;
use crate::parse::Args;
use crate::text::expected;
use crate::verb;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

/// Help is read in terminals of this width.
const WIDTH: usize = 80;
/// A longer example has its explanation below.
const EXAMPLE: usize = 36;

pub(crate) static VERB: Verb = Verb {
    name: "help",
    aliases: &[],
    usage: "help [VERB | SETTING | settings]",
    help: localized("list the commands and settings, and explain one", "列出命令和设置，解释其中一个"),
    details: localized("", ""),
    examples: &[
        ("help", localized("all commands", "所有命令")),
        ("help train", localized("one command, with examples", "一个命令，带示例")),
        ("help lora_rank", localized("one setting", "一个设置")),
        ("help settings", localized("all settings", "所有设置")),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Topics,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let lang = cx.lang();
    match args.word(0) {
        None => Ok(all_verbs(cx.verbs, lang)),
        Some("settings") => Ok(all_settings(lang)),
        Some(word) => match (verb::find(word, cx.verbs), declaration(word)) {
            (Ok(verb), _) => Ok(Output::Text(about_verb(verb, lang))),
            (_, Ok(setting)) => Ok(Output::Text(about_setting(setting, &setting.get(session.settings()), lang))),
            _ => {
                let topics = verb::names(cx.verbs).chain(settings::names());
                Err(Error::UnknownVerb { word: quote(word), nearest: nearest(word, topics) })
            }
        },
    }
}

fn all_verbs(verbs: &[&'static Verb], lang: Lang) -> Output {
    const NOTE: Localized = localized(
        "`help VERB` shows usage and examples, `help settings` lists all settings; Tab completes, Ctrl-C stops",
        "`help VERB` 显示用法和示例，`help settings` 列出所有设置；Tab 补全，Ctrl-C 停止",
    );
    Output::Table(Table {
        title: String::new(),
        headers: [localized("command", "命令"), localized("what it does", "作用")]
            .map(|text| text.in_lang(lang))
            .to_vec(),
        rows: verbs.iter().map(|verb| vec![verb.name.to_string(), verb.help.in_lang(lang).to_string()]).collect(),
        note: NOTE.in_lang(lang).to_string(),
    })
}

fn all_settings(lang: Lang) -> Output {
    const NOTE: Localized =
        localized("`help SETTING` shows the values that it accepts", "`help SETTING` 显示它接受的值");
    let row = |setting: &Declaration| {
        vec![setting.name.to_string(), setting.default(), setting.help().in_lang(lang).to_string()]
    };
    let headers = [localized("setting", "设置"), localized("default", "默认值"), localized("meaning", "含义")];
    Output::Table(Table {
        title: String::new(),
        headers: headers.map(|text| text.in_lang(lang)).to_vec(),
        rows: declarations().iter().map(row).collect(),
        note: NOTE.in_lang(lang).to_string(),
    })
}

pub(crate) fn about_verb(verb: &Verb, lang: Lang) -> String {
    let (does, usage) = (sentence(verb.help.in_lang(lang)), verb.usage);
    let mut text = localized!(lang, "{does}\n\nusage: {usage}\n", "{does}\n\n用法：{usage}\n");
    if !verb.aliases.is_empty() {
        let aliases = verb.aliases.join(", ");
        text += &localized!(lang, "also: {aliases}\n", "也可写作：{aliases}\n");
    }
    if !verb.details.en.is_empty() {
        text += &format!("\n{}\n", wrap(verb.details.in_lang(lang), 0, WIDTH));
    }
    text += localized("\nexamples:\n", "\n示例：\n").in_lang(lang);
    let fitting = verb.examples.iter().map(|(line, _)| line.width()).filter(|&width| width <= EXAMPLE);
    let width = fitting.max().unwrap_or(0);
    for (line, does) in verb.examples {
        let line = match line.width() <= width {
            true => format!("  {}", padded(line, width)),
            // What it does is said on the next line.
            false => format!("  {line}\n  {:width$}", ""),
        };
        text += &format!("{line}  # {}\n", does.in_lang(lang));
    }
    let options: Vec<_> = verb.options.iter().map(|option| (option.name, option.help.in_lang(lang))).collect();
    let settings = parse::settings(verb).map(|setting| (setting.name, setting.help().in_lang(lang)));
    let keys: Vec<_> = options.into_iter().chain(settings).collect();
    // `set` takes all of them; `help settings` lists these.
    if !keys.is_empty() && verb.name != "set" {
        text += localized("\nkeys:\n", "\n可用的键：\n").in_lang(lang);
        let width = keys.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, help) in keys {
            text += &wrap(&format!("  {name:width$}  {help}"), width + 4, WIDTH);
            text.push('\n');
        }
    }
    text.trim_end().to_string()
}

pub(crate) fn about_setting(setting: &Declaration, value: &str, lang: Lang) -> String {
    let mut text = format!("{} = {value}\n\n{}\n\n", setting.name, wrap(setting.help().in_lang(lang), 0, WIDTH));
    if !setting.aliases.is_empty() {
        let aliases = setting.aliases.join(", ");
        text += &localized!(lang, "short    {aliases}\n", "简称    {aliases}\n");
    }
    let (takes, default, group) = (expected(setting, lang), setting.default(), setting.group);
    text + &localized!(
        lang,
        "accepts  {takes}\ndefault  {default}\ngroup    {group}",
        "可取值  {takes}\n默认值  {default}\n分组    {group}"
    )
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
