//! `evaluate`: the loss on samples that are not trained on.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub static VERB: Verb = Verb {
    name: "evaluate",
    aliases: &[],
    usage: "evaluate [NAME[,NAME…]] [max_samples= adapter= output_dir= …]",
    help: "measure loss and perplexity on held-out samples",
    details: "Without a data set, the samples are those that `data` held out (val_size or eval_dataset). With output_dir, \
              eval_results.json and all_results.json are written there. Ctrl-C stops with the loss so far.",
    examples: &[
        ("evaluate", "what is held out, with the adapter that is on"),
        ("evaluate adapter=base", "the same without an adapter"),
        ("evaluate creatures_test max_samples=50", "the first 50 samples of a data set"),
        ("evaluate adapter=saves/creatures/checkpoint-100", "with an adapter that is not loaded"),
    ],
    takes: Takes::Words(0, usize::MAX),
    options: &[MAX_SAMPLES, ADAPTER],
    settings: &[Group::Evaluation, Group::Output],
    complete: |_| Complete::DataSets,
    run,
};

/// How many samples.
pub const MAX_SAMPLES: VerbOption = VerbOption {
    name: "max_samples",
    help: "Takes only the first so many samples, this time.",
    repeats: false,
    complete: Complete::Nothing,
};

/// Which adapter.
pub const ADAPTER: VerbOption = VerbOption {
    name: "adapter",
    help: "The adapter to use, this time: its name, a folder, or base; without it, the one that is on.",
    repeats: false,
    complete: Complete::AdaptersAndFolders,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    let (names, adapter) = (data_sets(args), args.options(ADAPTER.name).next());
    Ok(Output::Evaluated(session.evaluate(&names, most(args, &VERB)?, adapter, &stage.context)?))
}

/// The data sets that are named, in words or between commas.
pub fn data_sets(args: &Args) -> Vec<String> {
    let names = args.words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
    names.map(str::to_string).collect()
}

/// The value of `max_samples=`.
///
/// # Errors
/// It is no whole number above 0.
pub fn most(args: &Args, verb: &Verb) -> Result<Option<usize>> {
    let number = |text: &str| match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(verb.usage_error(format!("max_samples takes a whole number from 1, which `{text}` is not"))),
    };
    args.options(MAX_SAMPLES.name).next().map(number).transpose()
}
