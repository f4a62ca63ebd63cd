//! `plot`: the training so far as a curve.

use std::path::PathBuf;

use tunebook_engine::Session;
use tunebook_engine::output::plot::Figure;
use tunebook_engine::output::plot::smooth;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::StepRecord;
use tunebook_quote::quote;

use crate::error::Error;
use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::output::Overlay;
use crate::output::OverlayAxis;
use crate::output::OverlayCurve;
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
    usage: "plot [loss | eval_loss | lr | grad_norm] [adapters=A,B,…] [save=FILE.png]",
    help: localized("plot the training of the active adapter", "画出启用的适配器的训练曲线"),
    details: localized(
        "The loss is plotted as it is and smoothed, as in LLaMA-Factory, together with the eval_loss of evaluations. \
         Several adapters are plotted together from the last step that they have in common, smoothed; `adapters=all` \
         means all that have been trained.",
        "损失同时画原值和平滑值（与 LLaMA-Factory 相同），以及各次评估的 eval_loss。多个适配器的平滑曲线从它们最后的共同步\
         起画在一起；`adapters=all` 表示全部训练过的适配器。",
    ),
    examples: &[
        ("plot", localized("the loss", "损失")),
        ("plot lr", localized("the learning rate", "学习率")),
        ("plot loss adapters=all", localized("all adapters together", "把所有适配器画在一起")),
        ("plot save=loss.png", localized("saves the loss curve as an image", "把损失曲线存为图片")),
    ],
    takes: Takes::Words(0, 1),
    options: &[
        VerbOption {
            name: "save",
            help: localized("File for the plot, a .png or .svg.", "把曲线存到这个文件，.png 或 .svg。"),
            repeats: false,
            complete: Complete::Files,
        },
        VerbOption {
            name: "adapters",
            help: localized("Adapters to plot together, or all.", "画在一起的适配器，或 all。"),
            repeats: false,
            complete: Complete::Adapters,
        },
    ],
    settings: &[],
    complete: |words| {
        if words.is_empty() { Complete::Words(&["loss", "eval_loss", "lr", "grad_norm"]) } else { Complete::Nothing }
    },
    run,
};

fn run(session: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    let what = What::parse(args.word(0))?;
    let file = args.options("save").next().map(PathBuf::from);
    if let Some(adapters) = args.options("adapters").next() {
        return several(what, adapters, file, session);
    }
    if session.history().is_empty() {
        return Err(Error::NothingTrained);
    }
    let (name, points) = (what.name(), what.points(session.history(), session.evaluations()));
    let evaluations = what.beside(session.evaluations());
    if points.is_empty() {
        return Err(Error::NothingEvaluated);
    }
    if let Some(file) = &file {
        let adapter = session.adapters().into_iter().find(|adapter| adapter.active).map(|adapter| adapter.name);
        let figure = Figure::training(name, &adapter.unwrap_or_default(), points.clone());
        figure.with_evaluations(evaluations.clone()).write(file)?;
    }
    let (steps, values): (Vec<_>, Vec<_>) = points.into_iter().unzip();
    let smoothed = if what == What::LearningRate { Vec::new() } else { smooth(&values) };
    Ok(Output::Plot(Plot { name, steps, values, smoothed, evaluations, file }))
}

/// What is plotted.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Loss,
    EvalLoss,
    LearningRate,
    GradNorm,
}

impl What {
    fn parse(word: Option<&str>) -> Result<Self> {
        Ok(match word {
            None | Some("loss") => Self::Loss,
            Some("eval_loss") => Self::EvalLoss,
            Some("lr" | "learning_rate") => Self::LearningRate,
            Some("grad_norm") => Self::GradNorm,
            Some(word) => {
                let word = quote(word);
                return Err(VERB.usage_error(localized!("cannot plot `{word}`", "无法画 `{word}`")));
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::EvalLoss => "eval_loss",
            Self::LearningRate => "learning_rate",
            Self::GradNorm => "grad_norm",
        }
    }

    /// By step.
    fn points(self, history: &[StepRecord], evaluations: &[EvaluationRecord]) -> Vec<(f64, f64)> {
        let points = |value: fn(&StepRecord) -> f64| history.iter().map(|r| (r.step as f64, value(r))).collect();
        match self {
            Self::Loss => points(StepRecord::loss),
            Self::EvalLoss => found(evaluations),
            Self::LearningRate => points(|record| record.learning_rate),
            Self::GradNorm => points(|record| record.grad_norm),
        }
    }

    /// What evaluations found, beside the training loss.
    fn beside(self, evaluations: &[EvaluationRecord]) -> Vec<(f64, f64)> {
        if self == Self::Loss { found(evaluations) } else { Vec::new() }
    }
}

fn found(evaluations: &[EvaluationRecord]) -> Vec<(f64, f64)> {
    evaluations.iter().map(|record| (record.step as f64, record.loss)).collect()
}

/// The curves of several adapters, from the last step on that they have in common.
fn several(what: What, adapters: &str, file: Option<PathBuf>, session: &Session) -> Result<Output> {
    let names: Vec<String> = match adapters {
        "all" => {
            session.adapters().into_iter().filter(|adapter| adapter.step > 0).map(|adapter| adapter.name).collect()
        }
        names => names.split(',').map(|name| name.trim().to_string()).collect(),
    };
    let histories = names.iter().map(|name| session.history_of(name)).collect::<std::result::Result<Vec<_>, _>>()?;
    let common = common_steps(&histories);
    let is_shown = |(step, _): &(f64, f64)| names.len() == 1 || *step >= common as f64;
    let mut curves = Vec::with_capacity(names.len());
    for (name, history) in names.iter().zip(&histories) {
        let evaluations = session.evaluations_of(name)?;
        let points = what.points(history, evaluations);
        let (steps, values): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
        let smoothed = if what == What::LearningRate { Vec::new() } else { smooth(&values) };
        let smoothed: Vec<_> = steps.into_iter().zip(smoothed).collect();
        let shown = |points: Vec<(f64, f64)>| points.into_iter().filter(is_shown).collect();
        curves.push(OverlayCurve {
            label: name.clone(),
            points: shown(points),
            smoothed: shown(smoothed),
            evaluations: shown(what.beside(evaluations)),
        });
    }
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Err(if what == What::EvalLoss { Error::NothingEvaluated } else { Error::NothingTrained });
    }
    let overlay = Overlay { name: what.name(), x: OverlayAxis::Step, curves, file };
    if let Some(file) = &overlay.file {
        overlay.figure().write(file)?;
    }
    Ok(Output::Overlay(overlay))
}

/// How many steps all have in common from the first on, if some then go their own ways.
fn common_steps(histories: &[&[StepRecord]]) -> usize {
    let Some((first, others)) = histories.split_first() else { return 0 };
    let same = |a: &StepRecord, b: &StepRecord| {
        a.loss().to_bits() == b.loss().to_bits() && a.grad_norm.to_bits() == b.grad_norm.to_bits()
    };
    let of_all = |(index, record): &(usize, &StepRecord)| {
        others.iter().all(|other| other.get(*index).is_some_and(|other| same(record, other)))
    };
    let common = first.iter().enumerate().take_while(of_all).count();
    // Where all are the same, there is nothing to leave out.
    if histories.iter().all(|history| history.len() == common) { 0 } else { common }
}
