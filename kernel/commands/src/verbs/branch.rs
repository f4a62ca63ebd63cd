//! `branch`: a second adapter that goes on from a step of the active one.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

/// The option for the step.
const AT: VerbOption = VerbOption {
    name: "at",
    help: localized("The step to branch off; by default the present one.", "从哪一步分出；默认为现在的位置。"),
    repeats: false,
    complete: Complete::Nothing,
};

pub(super) static VERB: Verb = Verb {
    name: "branch",
    aliases: &[],
    usage: "branch NAME [at=STEP] [learning_rate= …]",
    help: localized("branch off a second adapter from the training", "从当前训练分出第二个适配器"),
    details: localized(
        "The new adapter NAME has the weights of the active one, and a training of its own that goes on from here, or from \
         an earlier step: with the same moments, order of samples and history. It is turned on; the other one stays, and \
         `adapter use` switches between them. `adapter list` shows which came from which, and `plot adapters=A,B` draws \
         both. If output_dir is set, the branch is written to output_dir/NAME.",
        "新的适配器 NAME 有与启用的适配器相同的权重和自己的训练，从这里（或较早的一步）继续，动量、样本顺序和历史都相同。\
         它会被启用；原来的保留，可用 `adapter use` 切换。`adapter list` 显示谁由谁分出，`plot adapters=A,B` 把两者画在一\
         起。设了 output_dir 时，分支写到 output_dir/NAME。",
    ),
    examples: &[
        ("branch hotter", localized("from here", "从这里分出")),
        (
            "branch slower at=1 lr=2e-5",
            localized("from an earlier step, with another rate", "从较早的一步分出，换一个学习率"),
        ),
    ],
    takes: Takes::Words(1, 1),
    options: &[AT],
    settings: &[Group::Training],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let step = |step: &str| {
        step.parse().map_err(|_| {
            let step = quote(step);
            VERB.usage_error(localized!("at is a step, not `{step}`", "at 应为步数，而不是 `{step}`"))
        })
    };
    let at = args.options(AT.name).next().map(step).transpose()?;
    Ok(Output::Adapter(session.branch(args.word(0).unwrap_or_default(), at, &cx.context)?))
}
