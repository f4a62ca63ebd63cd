//! `evaluate`: the loss on samples that are not trained on.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub(super) static VERB: Verb = Verb {
    name: "evaluate",
    aliases: &[],
    usage: "evaluate [NAME[,NAME…]] [max_samples= adapter= output_dir= …]",
    help: localized("compute loss and perplexity on held-out samples", "在留出的样本上计算损失和困惑度"),
    details: localized(
        "Without NAME, it uses the samples that `data` held out (val_size or eval_dataset). If output_dir is set, \
         eval_results.json and all_results.json are written there. Ctrl-C stops and reports the loss so far.",
        "不写 NAME 时，用 `data` 留出的样本（val_size 或 eval_dataset）。设了 output_dir 时，eval_results.json 和 \
         all_results.json 写到那里。Ctrl-C 停止，并报告到目前为止的损失。",
    ),
    examples: &[
        ("evaluate", localized("held-out samples, with the active adapter", "留出的样本，用启用的适配器")),
        ("evaluate adapter=base", localized("the same samples without an adapter", "同样的样本，不用适配器")),
        (
            "evaluate creatures_test max_samples=50",
            localized("the first 50 samples of a dataset", "某个数据集的前 50 个样本"),
        ),
        (
            "evaluate adapter=saves/creatures/checkpoint-100",
            localized("with an adapter that is not loaded", "用一个没有加载的适配器"),
        ),
    ],
    takes: Takes::Words(0, usize::MAX),
    options: &[MAX_SAMPLES, ADAPTER, OUTPUT_DIR],
    settings: &[Group::Evaluation],
    complete: |_| Complete::DataSets(&[]),
    run,
};

/// How many samples.
pub(super) const MAX_SAMPLES: VerbOption = VerbOption {
    name: "max_samples",
    help: localized(
        "Maximum samples per dataset, for this command only.",
        "每个数据集最多取前这么多个样本，只对这一次有效\
                                                                       。",
    ),
    repeats: false,
    complete: Complete::Nothing,
};

/// Which adapter.
pub(super) const ADAPTER: VerbOption = VerbOption {
    name: "adapter",
    help: localized(
        "Adapter for this command only: its name, a folder, or base; by default the active one.",
        "这一次用的适配器：名称、文件夹或 base；默认用启用的那个。",
    ),
    repeats: false,
    complete: Complete::AdaptersAndFolders,
};

/// Where to write to.
pub(super) const OUTPUT_DIR: VerbOption = VerbOption {
    name: "output_dir",
    help: localized(
        "Folder for the results of this command; by default the setting output_dir.",
        "这一次写结果的文件夹；默认用设置的 output_dir。",
    ),
    repeats: false,
    complete: Complete::Folders,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let (names, most, adapter) = (data_sets(args), most(args, &VERB)?, args.options(ADAPTER.name).next());
    with_output_dir(session, args, |session| {
        Ok(Output::Evaluated(session.evaluate(&names, most, adapter, &cx.context)?))
    })
}

/// Runs with the value of `output_dir=`, which the next training does not write to.
///
/// # Errors
/// Those of `run`.
pub(super) fn with_output_dir(
    session: &mut Session,
    args: &Args,
    run: impl FnOnce(&mut Session) -> Result<Output>,
) -> Result<Output> {
    let Some(folder) = args.options(OUTPUT_DIR.name).next() else { return run(session) };
    let before = session.settings().clone();
    let mut settings = before.clone();
    settings.set(OUTPUT_DIR.name, folder)?;
    session.set(settings);
    let result = run(session);
    session.set(before);
    result
}

/// The data sets that are named, in words or between commas.
pub(super) fn data_sets(args: &Args) -> Vec<String> {
    let names = args.words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
    names.map(str::to_string).collect()
}

/// The value of `max_samples=`.
///
/// # Errors
/// It is no whole number above 0.
pub(super) fn most(args: &Args, verb: &Verb) -> Result<Option<usize>> {
    args.number(MAX_SAMPLES.name, verb)
}
