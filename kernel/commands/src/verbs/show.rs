//! `show`: what the settings are.

use tunebook_engine::Session;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::Settings;
use tunebook_engine::settings::declaration;
use tunebook_engine::settings::declarations;

use crate::error::Result;
use crate::output::Output;
use crate::output::Table;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "show",
    aliases: &[],
    usage: "show [KEY | GROUP]",
    help: "show settings: all, a group, or one",
    details: "A value that is not the default is marked with `*`. The groups are model, pictures, data, lora, \
              freeze, method, training, evaluation, generation, output and export.",
    examples: &[("show", "all settings"), ("show lora", "those of a group"), ("show lr", "one of them")],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Settings,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    let settings = session.settings();
    let Some(word) = args.word(0) else {
        return Ok(table(settings, declarations().iter().collect()));
    };
    let group: Vec<_> = declarations().iter().filter(|setting| setting.group.to_string() == word).collect();
    if !group.is_empty() {
        return Ok(table(settings, group));
    }
    let setting = declaration(word)?;
    Ok(Output::Text(format!("{} = {}", setting.name, setting.get(settings))))
}

fn table(settings: &Settings, shown: Vec<&Declaration>) -> Output {
    let row = |setting: &&Declaration| {
        let value = setting.get(settings);
        let mark = if value == setting.default() { "" } else { " *" };
        vec![setting.name.to_string(), format!("{value}{mark}"), setting.aliases.join(", "), setting.group.to_string()]
    };
    Output::Table(Table {
        title: String::new(),
        headers: vec!["setting", "value", "short", "group"],
        rows: shown.iter().map(row).collect(),
        note: "`help KEY` explains a setting, `set KEY=VALUE` changes it".to_string(),
    })
}
