//! `plot`: the training so far as a curve.

use std::path::PathBuf;

use tunebook_engine::Session;
use tunebook_engine::output::plot::Figure;
use tunebook_engine::output::plot::smooth;
use tunebook_engine::report::StepRecord;
use tunebook_quote::quote;

use crate::error::Error;
use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::output::Plot;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub(super) static VERB: Verb = Verb {
    name: "plot",
    aliases: &[],
    usage: "plot [loss | eval_loss | lr | grad_norm] [save=FILE.png]",
    help: localized("plot the training of the active adapter", "画出启用的适配器的训练曲线"),
    details: localized(
        "The loss is plotted as it is and smoothed, as in LLaMA-Factory, together with the eval_loss of evaluations.",
        "损失同时画原值和平滑值（与 LLaMA-Factory 相同），以及各次评估的 eval_loss。",
    ),
    examples: &[
        ("plot", localized("the loss", "损失")),
        ("plot lr", localized("the learning rate", "学习率")),
        ("plot save=loss.png", localized("saves the loss curve as an image", "把损失曲线存为图片")),
    ],
    takes: Takes::Words(0, 1),
    options: &[VerbOption {
        name: "save",
        help: localized("File for the plot, a .png or .svg.", "把曲线存到这个文件，.png 或 .svg。"),
        repeats: false,
        complete: Complete::Files,
    }],
    settings: &[],
    complete: |words| {
        if words.is_empty() { Complete::Words(&["loss", "eval_loss", "lr", "grad_norm"]) } else { Complete::Nothing }
    },
    run,
};

fn run(session: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    let history = session.history();
    if history.is_empty() {
        return Err(Error::NothingTrained);
    }
    let points = |value: fn(&StepRecord) -> f64| history.iter().map(|r| (r.step as f64, value(r))).collect::<Vec<_>>();
    let found = || session.evaluations().iter().map(|record| (record.step as f64, record.loss)).collect::<Vec<_>>();
    let (name, points, evaluations) = match args.word(0) {
        None | Some("loss") => ("loss", points(StepRecord::loss), found()),
        Some("eval_loss") => ("eval_loss", found(), Vec::new()),
        Some("lr" | "learning_rate") => ("learning_rate", points(|record| record.learning_rate), Vec::new()),
        Some("grad_norm") => ("grad_norm", points(|record| record.grad_norm), Vec::new()),
        Some(word) => {
            let word = quote(word);
            return Err(VERB.usage_error(localized!("cannot plot `{word}`", "无法画 `{word}`")));
        }
    };
    if points.is_empty() {
        return Err(Error::NothingEvaluated);
    }
    let file = args.options("save").next().map(PathBuf::from);
    if let Some(file) = &file {
        let adapter = session.adapters().into_iter().find(|adapter| adapter.active).map(|adapter| adapter.name);
        let figure = Figure::training(name, &adapter.unwrap_or_default(), points.clone());
        figure.with_evaluations(evaluations.clone()).write(file)?;
    }
    let (steps, values): (Vec<_>, Vec<_>) = points.into_iter().unzip();
    let smoothed = if name == "learning_rate" { Vec::new() } else { smooth(&values) };
    Ok(Output::Plot(Plot { name, steps, values, smoothed, evaluations, file }))
}
