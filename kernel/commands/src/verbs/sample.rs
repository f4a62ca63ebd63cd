//! `sample`: one sample as the model sees it.

use tunebook_engine::Session;
use tunebook_engine::Split;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::text::sample_table;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;
use crate::verbs::evaluate::ADAPTER;

pub(super) static VERB: Verb = Verb {
    name: "sample",
    aliases: &[],
    usage: "sample [N] [tokens] [split=eval] [adapter=] [scores=false]",
    help: localized(
        "show an encoded sample: images, tokens, supervised tokens and their loss",
        "显示一个编码后的样本：图片、token、计算损失的部分及其损失",
    ),
    details: localized(
        "N counts from 0. The tokens between ⟦ and ⟧ are supervised: the model learns to generate them. Below they are \
         coloured by their probability, under the adapter and under the base model, with mean and sum of their losses: \
         what a training computes of the sample by itself, without dropout. In a notebook, hovering over a token shows \
         its loss, its rank among all tokens, and the five likeliest; `sample N tokens` lists them. This takes one \
         forward pass for each of the two models; Ctrl-C or scores=false shows the sample without.",
        "N 从 0 数起。⟦ 和 ⟧ 之间的 token 计算损失，是模型要学着生成的内容。下面按概率给它们着色，分别是在适配器和基础\
         模型下，并给出损失的平均值和总和，也就是训练对这一个样本（不含 dropout）算出的值。在笔记本中，鼠标停在 token \
         上会显示它的损失、在全部 token 中的排名，以及概率最高的五个；`sample N tokens` 用表格列出。两个模型各需一次前向\
         计算；按 Ctrl-C 或写 scores=false 则只显示样本。",
    ),
    examples: &[
        ("sample", localized("the first training sample", "第一个训练样本")),
        ("sample 41", localized("the 42nd training sample", "第 42 个训练样本")),
        ("sample 3 tokens", localized("its supervised tokens as a table", "用表格列出计算损失的 token")),
        ("sample split=eval", localized("the first evaluation sample", "第一个评估样本")),
        ("sample adapter=base", localized("what the base model says to it", "基础模型对它的看法")),
        ("sample 3 scores=false", localized("without asking the model", "不经过模型计算")),
    ],
    takes: Takes::Words(0, 2),
    options: &[SPLIT, ADAPTER, SCORES],
    settings: &[],
    complete: |_| Complete::Words(&[TOKENS]),
    run,
};

/// The word that asks for a table.
const TOKENS: &str = "tokens";

/// Which samples.
pub(super) const SPLIT: VerbOption = VerbOption {
    name: "split",
    help: localized("Which samples to show from: train or eval.", "从哪一部分显示：train 或 eval。"),
    repeats: false,
    complete: Complete::Words(&["train", "eval"]),
};

/// Whether the model is asked.
const SCORES: VerbOption = VerbOption {
    name: "scores",
    help: localized(
        "Whether the model computes the losses of its tokens: true or false.",
        "是否让模型计算各个 token 的损失：true 或 false。",
    ),
    repeats: false,
    complete: Complete::Words(&["true", "false"]),
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let mut args = args.clone();
    let as_table = args.words.pop_if(|word| word == TOKENS).is_some();
    if let Some(word) = args.word(1) {
        let word = quote(word);
        return Err(VERB.usage_error(localized!("`sample` does not accept `{word}`", "`sample` 不接受 `{word}`")));
    }
    let (split, index) = (split(&args, &VERB)?, args.count(0, &VERB)?.unwrap_or(0));
    if !args.switch(SCORES.name, &VERB)?.unwrap_or(true) {
        return Ok(Output::Sample(session.sample(split, index)?));
    }
    let report = session.scored_sample(split, index, args.options(ADAPTER.name).next(), &cx.context)?;
    match as_table && !report.scores.is_empty() {
        true => Ok(Output::Table(sample_table(&report, cx.lang()))),
        false => Ok(Output::Sample(report)),
    }
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
