//! `show`: what the settings are.

use tunebook_engine::Session;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::Settings;
use tunebook_engine::settings::declaration;
use tunebook_engine::settings::declarations;

use crate::error::Result;
use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::output::Table;
use crate::parse::Args;
use crate::text::system_prompt;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "show",
    aliases: &[],
    usage: "show [KEY | GROUP]",
    help: localized("show all settings, a group, or one", "显示设置：全部、一组或一个"),
    details: localized(
        "Values that differ from the default are marked with `*`. The groups are model, pictures, data, prompt, lora, \
         freeze, method, training, evaluation, generation, output and export.",
        "不是默认值的用 `*` 标出。分组有 model、pictures、data、prompt、lora、freeze、method、training、evaluation、\
         generation、output 和 export。",
    ),
    examples: &[
        ("show", localized("all settings", "所有设置")),
        ("show lora", localized("a group of settings", "一组设置")),
        ("show lr", localized("one setting", "一个设置")),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Settings,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let settings = session.settings();
    let Some(word) = args.word(0) else {
        return Ok(table(settings, declarations().iter().collect(), cx.lang()));
    };
    let group: Vec<_> = declarations().iter().filter(|setting| setting.group.to_string() == word).collect();
    if !group.is_empty() {
        return Ok(table(settings, group, cx.lang()));
    }
    let setting = declaration(word)?;
    let line = format!("{} = {}", setting.name, setting.get(settings));
    match setting.name {
        "default_system" if settings.default_system.is_none() => {
            let prompt = session.system_prompt().ok().map(|prompt| system_prompt(&prompt, cx.lang()));
            Ok(Output::Text(line + &in_use(prompt.as_deref(), cx.lang())))
        }
        "template" if settings.template.is_none() => {
            let template = session.template().ok().map(|template| template.name);
            Ok(Output::Text(line + &in_use(template, cx.lang())))
        }
        _ => Ok(Output::Text(line)),
    }
}

/// What stands in for a setting that is `none`, where that is known.
fn in_use(value: Option<&str>, lang: Lang) -> String {
    value.map(|value| localized!(lang, "\nin use: {value}", "\n使用中：{value}")).unwrap_or_default()
}

fn table(settings: &Settings, shown: Vec<&Declaration>, lang: Lang) -> Output {
    const HEADERS: [Localized; 4] = [
        localized("setting", "设置"),
        localized("value", "值"),
        localized("short", "简称"),
        localized("group", "分组"),
    ];
    const NOTE: Localized = localized(
        "`help KEY` explains a setting, `set KEY=VALUE` changes it",
        "`help KEY` 解释设置，`set KEY=VALUE` 更改设置",
    );
    let row = |setting: &&Declaration| {
        let value = setting.get(settings);
        let mark = if value == setting.default() { "" } else { " *" };
        vec![setting.name.to_string(), format!("{value}{mark}"), setting.aliases.join(", "), setting.group.to_string()]
    };
    Output::Table(Table {
        title: String::new(),
        headers: HEADERS.map(|text| text.in_lang(lang)).to_vec(),
        rows: shown.iter().map(row).collect(),
        note: NOTE.in_lang(lang).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use tunebook_engine::settings::Group;

    use super::*;

    #[test]
    fn every_group_is_named() {
        for group in Group::ALL {
            assert!([VERB.details.en, VERB.details.zh].iter().all(|text| text.contains(&group.to_string())), "{group}");
        }
    }
}
