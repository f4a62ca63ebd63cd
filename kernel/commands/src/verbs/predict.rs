//! `predict`: answers to samples, and their scores.

use tunebook_engine::Session;
use tunebook_engine::report::Prediction;
use tunebook_engine::settings::Group;

use super::evaluate::ADAPTER;
use super::evaluate::MAX_SAMPLES;
use super::evaluate::data_sets;
use super::evaluate::most;
use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

/// So many predictions are shown as they come.
const SHOWN: usize = 3;

pub static VERB: Verb = Verb {
    name: "predict",
    aliases: &[],
    usage: "predict [NAME[,NAME…]] [max_samples= adapter= output_dir= max_new_tokens= …]",
    help: "answer held-out samples, and score it: BLEU-4 and ROUGE",
    details: "Without a data set, the samples are those that `data` held out (val_size or eval_dataset). With output_dir, \
              each answer is added to generated_predictions.jsonl as it comes, and in the end predict_results.json is \
              written. Ctrl-C stops and keeps what is there. The scores are LLaMA-Factory's: characters for BLEU-4, \
              words as jieba cuts them for ROUGE.",
    examples: &[
        ("predict output_dir=saves/creatures/predictions", "answers what is held out, and keeps the answers"),
        ("predict max_samples=10 max_new_tokens=64", "only ten, and short ones"),
        ("predict creatures_test adapter=base do_sample=false", "another data set, without an adapter"),
    ],
    takes: Takes::Words(0, usize::MAX),
    options: &[MAX_SAMPLES, ADAPTER],
    settings: &[Group::Generation, Group::Output],
    complete: |_| Complete::DataSets,
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    let (names, adapter) = (data_sets(args), args.options(ADAPTER.name).next());
    let mut show = |prediction: &Prediction| {
        if prediction.index < SHOWN {
            (stage.show)(Output::Prediction(prediction.clone()));
        }
    };
    Ok(Output::Predicted(session.predict(&names, most(args, &VERB)?, adapter, &mut show, &stage.context)?))
}
