//! `predict`: answers to samples, and their scores.

use tunebook_engine::Session;
use tunebook_engine::report::Prediction;
use tunebook_engine::settings::Group;

use super::evaluate::ADAPTER;
use super::evaluate::MAX_SAMPLES;
use super::evaluate::OUTPUT_DIR;
use super::evaluate::data_sets;
use super::evaluate::most;
use super::evaluate::with_output_dir;
use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::output::Predicted;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

/// So many predictions are shown as they come.
const SHOWN: usize = 3;

pub(crate) static VERB: Verb = Verb {
    name: "predict",
    aliases: &[],
    usage: "predict [NAME[,NAME…]] [max_samples= adapter= output_dir= max_new_tokens= …]",
    help: localized(
        "answer held-out samples and score the answers with BLEU-4 and ROUGE",
        "回答留出的样本，并用 BLEU-4 和 \
                                                                                       ROUGE 打分",
    ),
    details: localized(
        "Without NAME, it uses the samples that `data` held out (val_size or eval_dataset). If output_dir is set, each \
         answer is appended to generated_predictions.jsonl, and the scores are written to predict_results.json at the \
         end. Ctrl-C stops and keeps the answers so far. The scores are LLaMA-Factory's: BLEU-4 over characters, ROUGE \
         over words as split by jieba.",
        "不写 NAME 时，用 `data` 留出的样本（val_size 或 eval_dataset）。设了 output_dir 时，每个回答随即写进 \
         generated_predictions.jsonl，最后把分数写到 predict_results.json。Ctrl-C 停止并保留已有的回答。分数与 \
         LLaMA-Factory 相同：BLEU-4 按字计算，ROUGE 按 jieba 分词计算。",
    ),
    examples: &[
        (
            "predict output_dir=saves/creatures/predictions",
            localized("answers the held-out samples and saves the answers", "回答留出的样本，并保存回答"),
        ),
        (
            "predict max_samples=10 max_new_tokens=64",
            localized(
                "only ten samples, with short answers",
                "只回答十个样本，回\
                                                                                                   答要短",
            ),
        ),
        (
            "predict creatures_test adapter=base do_sample=false",
            localized("another dataset, without an adapter", "另一个数据集，不用适配器"),
        ),
    ],
    takes: Takes::Words(0, usize::MAX),
    options: &[MAX_SAMPLES, ADAPTER, OUTPUT_DIR],
    settings: &[Group::Generation],
    complete: |_| Complete::DataSets(&[]),
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let (names, most, adapter) = (data_sets(args), most(args, &VERB)?, args.options(ADAPTER.name).next());
    with_output_dir(session, args, |session| predict(&names, most, adapter, session, cx))
}

/// Predicts, and shows the first predictions as they come.
///
/// # Errors
/// Those of [`Session::predict`].
pub(crate) fn predict(
    names: &[String],
    most: Option<usize>,
    adapter: Option<&str>,
    session: &mut Session,
    cx: &CommandContext,
) -> Result<Output> {
    let mut predictions = Vec::new();
    let mut on_prediction = |prediction: &Prediction| {
        if prediction.index < SHOWN {
            (cx.show)(Output::Prediction(prediction.clone()));
        }
        predictions.push(prediction.clone());
    };
    let report = session.predict(names, most, adapter, &mut on_prediction, &cx.context)?;
    Ok(Output::Predicted(Predicted { report, predictions }))
}
