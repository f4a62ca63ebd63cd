//! Carrying out a line.

use std::path::Path;
use std::path::PathBuf;

use tunebook_engine::Session;
use tunebook_engine::Settings;
use tunebook_engine::settings::Owner;

use crate::cell;
use crate::error::Error;
use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::rust;
use crate::rust::RustError;
use crate::script;
use crate::timing;
use crate::verb::CommandContext;
use crate::verb::Takes;
use crate::verb::Verb;

/// Carries out one line. Settings that are given along stay set if it succeeds; if it fails they are as before.
///
/// # Errors
/// What was wrong with the line, or why the verb did not finish.
pub fn run(line: &str, session: &mut Session, cx: &CommandContext) -> Result<Output> {
    if rust::begins_block(line) {
        return Err(RustError::NotHere.into());
    }
    if timing::block(line).is_some() {
        return timing::run_lines(&timing::lines(line).unwrap_or_default(), session, cx);
    }
    let message = cell::message(line).or_else(|| cell::question(line).map(|topic| format!("help {topic}")));
    let Some((verb, args)) = parse::parse(message.as_deref().unwrap_or(line), cx.verbs)? else {
        return Ok(Output::Nothing);
    };
    let before = session.held_settings();
    if verb.takes != Takes::Values {
        session.change(args.settings.iter().map(|(key, value)| (*key, value.as_str())))?;
    }
    let result = (verb.run)(session, &args, cx);
    match &result {
        Ok(_) => tie(verb, &args, session, &before.settings),
        Err(_) => session.put_back(before),
    }
    result
}

/// Of what is given along, some belongs to the words of its line and goes with them: a revision with its model, a folder of
/// pictures with its data sets.
fn tie(verb: &Verb, args: &Args, session: &mut Session, before: &Settings) {
    for (key, _) in &args.settings {
        match (verb.name, *key) {
            ("load", "model_revision") => session.tie(key, Owner::Model, before),
            ("data", "media_dir") => {
                let owner = Owner::DatasetDir(session.settings().dataset_dir.clone());
                session.tie(key, owner, before);
            }
            _ => {}
        }
    }
}

/// Carries out the lines of a file and shows their outputs as they come; stops at the first error.
///
/// # Errors
/// The file cannot be read, or the first error with the line it came from.
pub(crate) fn run_file(path: &Path, session: &mut Session, cx: &CommandContext) -> Result<Output> {
    if cx.scripts.iter().any(|running| running == path) {
        return Err(Error::Recursion { path: path.to_path_buf() });
    }
    let bytes = tunebook_files::read(path)
        .map_err(|source| tunebook_engine::Error::Read { path: path.to_path_buf(), source })?;
    let text = script::text(bytes, &path.display().to_string(), 1)?;
    let scripts: Vec<PathBuf> = cx.scripts.iter().cloned().chain([path.to_path_buf()]).collect();
    let cx = CommandContext { scripts: &scripts, can_wait: false, ..*cx };
    for line in script::lines(&text) {
        let located = |error: Error| Error::InScript {
            file: path.display().to_string(),
            line: error.place(&line).0.number,
            error: Box::new(error),
        };
        match run(&line.text, session, &cx).map_err(located)? {
            Output::Quit => break,
            Output::Conversation => return Err(located(Error::NobodyToTalk)),
            output => (cx.show)(output),
        }
        if cx.context.is_cancelled() {
            return Err(located(tunebook_engine::Error::Cancelled.into()));
        }
    }
    Ok(Output::Nothing)
}
