//! `adapter`: the adapters of the session, several at once.

use tunebook_engine::Session;

use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "adapter",
    aliases: &[],
    usage: "adapter list | load FOLDER [as NAME] | use NAME | off | drop NAME",
    help: "list, load, switch, turn off or drop adapters",
    details: "A folder is one that `save` or PEFT wrote. Switching takes no time: the model stays as it is.",
    examples: &[
        ("adapter list", "all of them, and which one is on"),
        ("adapter load saves/creatures as old", "loads one, turns it on, calls it old"),
        ("adapter use default", "turns another one on"),
        ("adapter off", "runs the base model"),
        ("adapter drop old", "forgets one; its files stay"),
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

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    let words: Vec<_> = args.words.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["list"] => Ok(Output::Adapters(session.adapters())),
        ["load", folder] => Ok(Output::Adapter(session.adapter_load(&parse::path(folder), None)?)),
        ["load", folder, "as", name] => Ok(Output::Adapter(session.adapter_load(&parse::path(folder), Some(name))?)),
        ["use", name] => Ok(Output::Adapter(session.adapter_use(name)?)),
        ["off"] => {
            session.adapter_off()?;
            Ok(Output::Text("no adapter is on: the base model answers".to_string()))
        }
        ["drop", name] => {
            session.adapter_drop(name)?;
            Ok(Output::Text(format!("the adapter `{name}` is dropped")))
        }
        _ => Err(VERB.usage_error(format!("`adapter {}` is not a command", words.join(" ")))),
    }
}
