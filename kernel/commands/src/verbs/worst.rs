//! `worst`: the samples with the highest loss.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verbs::evaluate::ADAPTER;
use crate::verbs::sample::SPLIT;
use crate::verbs::sample::split;

/// How many samples are shown where no number is given.
const MOST: usize = 10;

pub(super) static VERB: Verb = Verb {
    name: "worst",
    aliases: &[],
    usage: "worst [N] [split=eval] [adapter=]",
    help: localized("show the N samples with the highest loss", "显示损失最高的 N 个样本"),
    details: localized(
        "Computes the loss of every sample by itself, under the adapter and under the base model: the mean over its \
         supervised tokens. What the model does not learn, such as wrong labels, comes first. N is 10 by default. \
         `sample N` shows one of them in full. Ctrl-C stops and shows the worst so far.",
        "分别计算每个样本在适配器和基础模型下的损失，即它的监督 token 上的平均。模型学不会的样本（例如标签有错的）排在\
         最前面。N 默认为 10。`sample N` 完整显示其中一个。Ctrl-C 停止，并显示目前为止最差的样本。",
    ),
    examples: &[
        ("worst", localized("ten training samples", "十个训练样本")),
        ("worst 30 split=eval", localized("of those that were held out", "从留出的样本中找")),
        ("worst adapter=base", localized("what the base model finds hardest", "基础模型觉得最难的样本")),
    ],
    takes: Takes::Words(0, 1),
    options: &[SPLIT, ADAPTER],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let (split, most) = (split(args, &VERB)?, args.count(0, &VERB)?.unwrap_or(MOST));
    Ok(Output::Worst(session.worst(split, most, args.options(ADAPTER.name).next(), &cx.context)?))
}
