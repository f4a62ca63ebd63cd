//! `probe`: questions that trainings ask themselves.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::output::Probes;
use crate::parse::Args;
use crate::picture::pictures;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub(super) static VERB: Verb = Verb {
    name: "probe",
    aliases: &[],
    usage: "probe [image=FILE… probe_steps= max_new_tokens= …] QUESTION | list | show | drop N | drop all",
    help: localized("watch how answers change during training", "观察回答在训练中如何变化"),
    details: localized(
        "Each probe is a question that the adapter answers before the first step of a training and then every \
         probe_steps steps, with the likeliest tokens (do_sample has no effect). All probes are answered together, and \
         the training has the same bits as without them. Changed words are marked. With output_dir, probes.jsonl there \
         has all answers. Probes stay in the session until they are dropped, whatever is trained.",
        "每个探针是一个问题：训练第一步之前，以及之后每 probe_steps 步，适配器都用概率最高的 token 回答（do_sample \
         不起作用）。所有探针一起回答，训练结果与没有探针时逐位相同。改变了的词会标出。设了 output_dir 时，其中的 \
         probes.jsonl 记录所有回答。探针一直留在会话中，直到被丢弃，与训练什么无关。",
    ),
    examples: &[
        ("probe image=cat.png What is this?", localized("a question about an image", "关于一张图片的问题")),
        (
            "probe probe_steps=30 max_new_tokens=40 Who are you?",
            localized("every 30 steps, in at most 40 tokens", "每 30 步回答一次，最多 40 个 token"),
        ),
        ("probe show", localized("all answers so far, step by step", "按步列出目前的所有回答")),
        ("probe drop 2", localized("drops the second one", "丢弃第二个")),
    ],
    takes: Takes::Text,
    options: &[VerbOption {
        name: "image",
        help: localized("Image for the question; can be repeated.", "问题所带的图片；可以写多个。"),
        repeats: true,
        complete: Complete::Files,
    }],
    settings: &[Group::Prompt, Group::Generation, Group::Pictures, Group::Evaluation],
    complete: |words| match words {
        [] => Complete::Words(&["list", "show", "drop"]),
        ["drop"] => Complete::Words(&["all"]),
        _ => Complete::Nothing,
    },
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let images = pictures(session, args)?;
    let words: Vec<&str> = if images.is_empty() { args.text.split_whitespace().collect() } else { Vec::new() };
    match words[..] {
        _ if args.text.is_empty() && !images.is_empty() => {
            Err(VERB.usage_error(localized!("an image needs a question", "除了图片，还要写问题")))
        }
        [] if images.is_empty() => Ok(list(session)),
        ["list"] => Ok(list(session)),
        ["show"] => Ok(Output::Probes(Probes {
            probes: session.probes().to_vec(),
            first: 1,
            records: session.probe_records().to_vec(),
        })),
        ["drop", "all"] => {
            session.probe_drop(None)?;
            const NONE: Localized = localized("dropped all probes", "已丢弃所有探针");
            Ok(Output::Text(NONE.in_lang(cx.lang()).to_string()))
        }
        ["drop", number] if number.parse::<usize>().is_ok() => {
            session.probe_drop(number.parse().ok())?;
            Ok(list(session))
        }
        _ => {
            let number = session.probe(&args.text, &images)?;
            let probes = session.probes()[number - 1..number].to_vec();
            Ok(Output::Probes(Probes { probes, first: number, records: Vec::new() }))
        }
    }
}

fn list(session: &Session) -> Output {
    Output::Probes(Probes { probes: session.probes().to_vec(), first: 1, records: Vec::new() })
}
