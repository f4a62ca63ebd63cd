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

pub static VERB: Verb = Verb {
    name: "sample",
    aliases: &[],
    usage: "sample [N] [split=eval]",
    help: localized(
        "show an encoded sample: pictures, tokens, what is learned",
        "显示一个编码后的样本：图片、token、要学的部分",
    ),
    details: localized(
        "N counts from 0. What stands between ⟦ and ⟧ is what the model learns to say.",
        "N 从 0 数起。⟦ 和 ⟧ 之间是模型要学着说的内容。",
    ),
    examples: &[
        ("sample", localized("the first one to train on", "第一个训练样本")),
        ("sample 41", localized("the 42nd", "第 42 个")),
        ("sample split=eval", localized("the first one to evaluate on", "第一个评估样本")),
    ],
    takes: Takes::Words(0, 1),
    options: &[VerbOption {
        name: "split",
        help: localized("Which samples: train or eval.", "哪些样本：train 或 eval。"),
        repeats: false,
        complete: Complete::Words(&["train", "eval"]),
    }],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &CommandContext) -> Result<Output> {
    let split = match args.options("split").next() {
        None | Some("train") => Split::Train,
        Some("eval") => Split::Eval,
        Some(other) => {
            return Err(VERB.usage_error(localized!(
                "`{other}` is no split; it is train or eval",
                "split 应为 train 或 eval，而不是 `{other}`",
                other = quote(other)
            )));
        }
    };
    Ok(Output::Sample(session.sample(split, args.count(0, &VERB)?.unwrap_or(0))?))
}
