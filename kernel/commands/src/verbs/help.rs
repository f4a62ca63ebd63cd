//! `help`: made from what verbs and settings declare of themselves.

use tunebook_engine::Session;
use tunebook_engine::nearest::nearest;
use tunebook_engine::settings;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::declaration;
use tunebook_engine::settings::declarations;

use crate::error::Error;
use crate::error::Result;
use crate::output::Output;
use crate::output::Table;
use crate::parse;
use crate::parse::Args;
use crate::text::wrap;
use crate::verb;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verbs::VERBS;

/// Help is read in terminals of this width.
const WIDTH: usize = 80;
/// A longer example has its explanation below.
const EXAMPLE: usize = 36;

pub static VERB: Verb = Verb {
    name: "help",
    aliases: &[],
    usage: "help [VERB | SETTING | settings]",
    help: "what there is, and how to use it",
    details: "",
    examples: &[
        ("help", "all verbs"),
        ("help train", "one of them, with examples"),
        ("help lora_rank", "one setting"),
        ("help settings", "all settings"),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Topics,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    match args.word(0) {
        None => Ok(all_verbs()),
        Some("settings") => Ok(all_settings()),
        Some(word) => match (verb::find(word), declaration(word)) {
            (Ok(verb), _) => Ok(Output::Text(about_verb(verb))),
            (_, Ok(setting)) => Ok(Output::Text(about_setting(setting, &setting.get(session.settings())))),
            _ => {
                let topics = verb::names().chain(settings::names());
                Err(Error::UnknownVerb { word: word.to_string(), nearest: nearest(word, topics) })
            }
        },
    }
}

fn all_verbs() -> Output {
    Output::Table(Table {
        title: String::new(),
        headers: vec!["verb", "does"],
        rows: VERBS.iter().map(|verb| vec![verb.name.to_string(), verb.help.to_string()]).collect(),
        note: "`help VERB` shows usage and examples, `help settings` all settings; Tab completes, Ctrl-C stops"
            .to_string(),
    })
}

fn all_settings() -> Output {
    let row = |setting: &Declaration| vec![setting.name.to_string(), setting.default(), setting.help().to_string()];
    Output::Table(Table {
        title: String::new(),
        headers: vec!["setting", "default", "meaning"],
        rows: declarations().iter().map(row).collect(),
        note: "`help SETTING` says what it takes".to_string(),
    })
}

pub fn about_verb(verb: &Verb) -> String {
    let mut text = format!("{}\n\nusage: {}\n", sentence(verb.help), verb.usage);
    if !verb.aliases.is_empty() {
        text += &format!("also: {}\n", verb.aliases.join(", "));
    }
    if !verb.details.is_empty() {
        text += &format!("\n{}\n", wrap(verb.details, 0, WIDTH));
    }
    text += "\nexamples:\n";
    let fitting = verb.examples.iter().map(|(line, _)| line.chars().count()).filter(|&width| width <= EXAMPLE);
    let width = fitting.max().unwrap_or(0);
    for (line, does) in verb.examples {
        let line = match line.chars().count() <= width {
            true => format!("  {line:width$}"),
            // What it does is said on the next line.
            false => format!("  {line}\n  {:width$}", ""),
        };
        text += &format!("{line}  # {does}\n");
    }
    let options: Vec<_> = verb.options.iter().map(|option| (option.name, option.help)).collect();
    let settings = parse::settings(verb).map(|setting| (setting.name, setting.help()));
    let keys: Vec<_> = options.into_iter().chain(settings).collect();
    // `set` takes all of them; `help settings` lists these.
    if !keys.is_empty() && verb.name != "set" {
        text += "\nkeys:\n";
        let width = keys.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, help) in keys {
            text += &wrap(&format!("  {name:width$}  {help}"), width + 4, WIDTH);
            text.push('\n');
        }
    }
    text.trim_end().to_string()
}

pub fn about_setting(setting: &Declaration, value: &str) -> String {
    let mut text = format!("{} = {value}\n\n{}\n\n", setting.name, setting.help());
    if !setting.aliases.is_empty() {
        text += &format!("short    {}\n", setting.aliases.join(", "));
    }
    text + &format!("takes    {}\ndefault  {}\ngroup    {}", setting.expected(), setting.default(), setting.group)
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
