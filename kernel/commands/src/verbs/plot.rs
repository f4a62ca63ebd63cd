//! `plot`: the training so far as a curve.

use std::path::PathBuf;

use tunebook_engine::Session;
use tunebook_engine::output::plot::Figure;
use tunebook_engine::output::plot::smooth;
use tunebook_engine::report::StepRecord;

use crate::error::Error;
use crate::error::Result;
use crate::output::Output;
use crate::output::Plot;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub static VERB: Verb = Verb {
    name: "plot",
    aliases: &[],
    usage: "plot [loss | lr | grad_norm] [save=FILE.png]",
    help: "draw the training of the adapter that is on",
    details: "The loss is drawn as it is and smoothed, as LLaMA-Factory does.",
    examples: &[
        ("plot", "the loss"),
        ("plot lr", "the learning rate"),
        ("plot save=loss.png", "the loss as a picture"),
    ],
    takes: Takes::Words(0, 1),
    options: &[VerbOption {
        name: "save",
        help: "Draws it to this file, a .png or an .svg.",
        repeats: false,
        complete: Complete::Files,
    }],
    settings: &[],
    complete: |words| if words.is_empty() { Complete::Words(&["loss", "lr", "grad_norm"]) } else { Complete::Nothing },
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    let (name, value): (_, fn(&StepRecord) -> f64) = match args.word(0) {
        None | Some("loss") => ("loss", |record| record.loss),
        Some("lr" | "learning_rate") => ("learning_rate", |record| record.learning_rate),
        Some("grad_norm") => ("grad_norm", |record| record.grad_norm),
        Some(word) => return Err(VERB.usage_error(format!("there is no `{word}` to plot"))),
    };
    let history = session.history();
    if history.is_empty() {
        return Err(Error::NothingTrained);
    }
    let values: Vec<_> = history.iter().map(value).collect();
    let steps: Vec<_> = history.iter().map(|record| record.step as f64).collect();
    let file = args.options("save").next().map(PathBuf::from);
    if let Some(file) = &file {
        let adapter = session.adapters().into_iter().find(|adapter| adapter.active).map(|adapter| adapter.name);
        let points = steps.iter().copied().zip(values.iter().copied()).collect();
        Figure::training(name, &adapter.unwrap_or_default(), points).write(file)?;
    }
    let smoothed = if name == "learning_rate" { Vec::new() } else { smooth(&values) };
    Ok(Output::Plot(Plot { name, steps, values, smoothed, file }))
}
