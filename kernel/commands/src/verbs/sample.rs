//! `sample`: one sample as the model sees it.

use tunebook_engine::Session;
use tunebook_engine::Split;
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

pub(super) static VERB: Verb = Verb {
    name: "sample",
    aliases: &[],
    usage: "sample [N] [split=eval]",
    help: localized(
        "show an encoded sample: images, tokens, supervised tokens",
        "显示一个编码后的样本：图片、token、计算损失的部分",
    ),
    details: localized(
        "N counts from 0. The tokens between ⟦ and ⟧ are supervised: the model learns to generate them.",
        "N 从 0 数起。⟦ 和 ⟧ 之间的 token 计算损失，是模型要学着生成的内容。",
    ),
    examples: &[
        ("sample", localized("the first training sample", "第一个训练样本")),
        ("sample 41", localized("the 42nd training sample", "第 42 个训练样本")),
        ("sample split=eval", localized("the first evaluation sample", "第一个评估样本")),
    ],
    takes: Takes::Words(0, 1),
    options: &[SPLIT],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

/// Which samples.
pub(super) const SPLIT: VerbOption = VerbOption {
    name: "split",
    help: localized("Which samples to show from: train or eval.", "从哪一部分显示：train 或 eval。"),
    repeats: false,
    complete: Complete::Words(&["train", "eval"]),
};

fn run(session: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    Ok(Output::Sample(session.sample(split(args, &VERB)?, args.count(0, &VERB)?.unwrap_or(0))?))
}

/// The value of `split=`.
///
/// # Errors
/// It is none.
pub(super) fn split(args: &Args, verb: &Verb) -> Result<Split> {
    match args.options(SPLIT.name).next() {
        None | Some("train") => Ok(Split::Train),
        Some("eval") => Ok(Split::Eval),
        Some(other) => Err(verb.usage_error(localized!(
            "split must be train or eval, not `{other}`",
            "split 应为 train 或 eval，而不是 `{other}`",
            other = quote(other)
        ))),
    }
}
