//! `recipe`: the session as LLaMA-Factory's YAML and command line, and back.

use std::path::Path;

use tunebook_engine::Session;
use tunebook_engine::recipe::Recipe;
use tunebook_engine::recipe::Written;

use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::recipe;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "recipe",
    aliases: &[],
    usage: "recipe show | save FILE | load FILE",
    help: "the session as a LLaMA-Factory recipe, and back",
    details: "`recipe show` writes the YAML and the `llamafactory-cli train` command that its web page would show for \
              these settings; `recipe save` writes the YAML to a file that `llamafactory-cli train FILE` and `tunebook \
              train FILE` carry out. `recipe load` reads such a file: it sets what the file says, loads its model, data \
              and adapter, and `train` can begin. Keys that only steer Python or the machine are accepted and kept; what \
              would change the result and is not there is refused, every such key by name.",
    examples: &[
        ("recipe show", "to look at, or to paste into a shell"),
        ("recipe save creatures.yaml", "for LLaMA-Factory on a larger machine"),
        ("recipe load creatures.yaml", "then `train 5` makes the first five steps of it"),
    ],
    takes: Takes::Words(1, 2),
    options: &[],
    settings: &[],
    complete: |given| match given {
        [] => Complete::Words(&["show", "save", "load"]),
        ["save" | "load"] => Complete::Files,
        _ => Complete::Nothing,
    },
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    match (args.word(0), args.word(1)) {
        (Some("show"), None) => Ok(Output::Text(show(&session.recipe()))),
        (Some("save"), Some(file)) => save(&session.recipe(), &parse::path(file)),
        (Some("load"), Some(file)) => {
            let read = Recipe::read(&parse::path(file), &[])?;
            recipe::prepare(&read, session, stage)?;
            Ok(Output::Nothing)
        }
        (Some("save" | "load"), None) => Err(VERB.usage_error("a file is missing")),
        _ => Err(VERB.usage_error("it shows, saves or loads")),
    }
}

fn show(written: &Written) -> String {
    let notes: String = notes(written).into_iter().map(|note| format!("\n\n{note}")).collect();
    format!("{}\n{}{notes}", written.yaml(), written.command().trim_end())
}

fn save(written: &Written, file: &Path) -> Result<Output> {
    written.save(file)?;
    let notes: String = notes(written).into_iter().map(|note| format!("\n{note}")).collect();
    Ok(Output::Text(format!("saved to {}{notes}", file.display())))
}

/// What somebody who runs it must know.
fn notes(written: &Written) -> Vec<String> {
    let mut notes = Vec::new();
    if !written.missing.is_empty() {
        notes.push(format!("LLaMA-Factory also needs {}, which the session has not", written.missing.join(", ")));
    }
    if !written.left_out.is_empty() {
        let settings = written.left_out.join(", ");
        notes.push(format!("not in it, since LLaMA-Factory has no such setting: {settings}"));
    }
    if written.left_out.iter().any(|setting| setting == "hub=modelscope") {
        notes.push("USE_MODELSCOPE_HUB=1 in its environment lets LLaMA-Factory ask ModelScope".to_string());
    }
    notes
}
