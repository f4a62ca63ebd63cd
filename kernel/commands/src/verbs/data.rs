//! `data`: which datasets to train on.

use tunebook_data::DatasetInfo;
use tunebook_data::Skipped;
use tunebook_engine::Session;
use tunebook_engine::settings::Group;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::Lang;
use crate::lang::Localize;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::output::Table;
use crate::parse::Args;
use crate::quantities::SAMPLE;
use crate::quantities::count;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "data",
    aliases: &[],
    usage: "data [NAME[,NAME…] | skipped [all] | drop N[,N…] | undrop N[,N…]|all | dropped] [dataset_dir= cutoff_len= val_size= …]",
    help: localized(
        "choose datasets to train on; without NAME: list them",
        "选择用来训练的数据集；不写 NAME 则列出数据集",
    ),
    details: localized(
        "NAME is a dataset of dataset_info.json in dataset_dir. All samples are encoded right away; a sample that \
         cannot be used is skipped and reported: `data skipped` lists the first 20, `data skipped all` lists all, and \
         training writes them to output_dir/skipped_samples.jsonl. val_size holds out samples for `evaluate`, the same \
         ones as LLaMA-Factory; eval_dataset uses other datasets instead. default_system is the system prompt of \
         samples without their own; a system prompt that all samples share is also used by `chat`. The training of \
         every adapter restarts at step 0, but the adapters keep what they have learned. `data drop` leaves training \
         samples out from the next step on, by their numbers, such as those that `worst` finds; `data undrop` takes them \
         back, and checkpoints keep which they are. Images can be PNG, JPEG, \
         WebP, GIF, BMP, TIFF, ICO, PNM or QOI files.",
        "NAME 是 dataset_dir 中 dataset_info.json 里的数据集。所有样本立即编码；不能用的样本会跳过并报告：`data \
         skipped` 列出前 20 个，`data skipped all` 列出全部，训练时写到 output_dir/skipped_samples.jsonl。val_size 留\
         出一部分给 `evaluate`，与 LLaMA-Factory 留出的相同；eval_dataset 则另外指定数据集。default_system 用于自身没\
         有系统提示词的样本；所有样本共有的系统提示词，`chat` 也会用。各适配器的训练从第 0 步重新开始，已学到的保留。\
         `data drop` 按编号从下一步起去掉训练样本，例如 `worst` 找到的；`data undrop` 把它们放回来，检查点会记住它们。\
         图片可以是 PNG、JPEG、WebP、GIF、BMP、TIFF、ICO、PNM 或 QOI 文件。",
    ),
    examples: &[
        (
            "data dataset_dir=pokemon",
            localized("lists the datasets of pokemon/dataset_info.json", "列出 pokemon/dataset_info.json 中的数据集"),
        ),
        ("data creatures cutoff_len=512", localized("uses one of them", "使用其中一个")),
        ("data creatures val_size=0.1", localized("holds out a tenth of it", "留出十分之一作验证集")),
        (
            "data creatures,identity max_samples=100",
            localized("uses the first 100 samples of two of them", "取两个数据集各自的前 100 个样本"),
        ),
        ("data drop 17,20", localized("leaves two samples out from now on", "从现在起去掉两个样本")),
        ("data undrop all", localized("takes all of them back", "全部放回")),
        ("data skipped", localized("lists the samples that cannot be used, and why", "列出不能用的样本和原因")),
    ],
    takes: Takes::Words(0, usize::MAX),
    options: &[],
    settings: &[Group::Data, Group::Prompt, Group::Pictures],
    complete: |words| match words {
        [] => Complete::DataSets(&["skipped", "drop", "undrop", "dropped"]),
        ["skipped" | "undrop"] => Complete::Words(&["all"]),
        _ => Complete::DataSets(&[]),
    },
    run,
};

/// How many of them `data skipped` lists.
const FEW: usize = 20;

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    match args.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["skipped"] => return Ok(skipped(session.skipped(), FEW, cx.lang())),
        ["skipped", "all"] => return Ok(skipped(session.skipped(), usize::MAX, cx.lang())),
        ["dropped"] => return Ok(dropped(session, cx.lang())),
        ["undrop", "all"] => {
            session.data_undrop(None)?;
            return Ok(dropped(session, cx.lang()));
        }
        [verb @ ("drop" | "undrop"), ref given @ ..] if !given.is_empty() => {
            let numbers = numbers(given)?;
            match verb {
                "drop" => session.data_drop(&numbers)?,
                _ => session.data_undrop(Some(&numbers))?,
            }
            return Ok(dropped(session, cx.lang()));
        }
        _ => {}
    }
    let words = args.words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
    let mut names: Vec<_> = words.map(str::to_string).collect();
    if args.settings.iter().any(|(key, _)| *key == "dataset") {
        names.extend(session.settings().dataset.clone());
    }
    if names.is_empty() {
        return list(session, cx.lang());
    }
    choose_held_out(session, args);
    let report = session.data(&names, &cx.context)?;
    let mut settings = session.settings().clone();
    settings.dataset = names;
    session.set(settings);
    Ok(Output::Data(Box::new(report)))
}

/// Of `val_size` and `eval_dataset`, the one that is given along takes the place of the other.
fn choose_held_out(session: &mut Session, args: &Args) {
    let is_given = |key: &str| args.settings.iter().any(|(given, _)| *given == key);
    let mut settings = session.settings().clone();
    match (is_given("val_size"), is_given("eval_dataset")) {
        (true, false) if settings.val_size > 0.0 => settings.eval_dataset.clear(),
        (false, true) if !settings.eval_dataset.is_empty() => settings.val_size = 0.0,
        _ => {}
    }
    session.set(settings);
}

fn list(session: &Session, lang: Lang) -> Result<Output> {
    let settings = session.settings();
    let info = DatasetInfo::read(&settings.dataset_dir).map_err(tunebook_engine::Error::from)?;
    let used = |name: &str| {
        if settings.dataset.iter().any(|used| used == name) {
            localized("in use", "使用中").in_lang(lang)
        } else {
            ""
        }
    };
    let folder = settings.dataset_dir.display();
    Ok(Output::Table(Table {
        title: localized!(lang, "datasets in {folder}", "{folder} 中的数据集"),
        headers: vec![localized("name", "名称").in_lang(lang), ""],
        rows: info.names().map(|name| vec![name.to_string(), used(name).to_string()]).collect(),
        note: String::new(),
    }))
}

/// Sample numbers in words or between commas.
fn numbers(words: &[&str]) -> Result<Vec<usize>> {
    let parts = words.iter().flat_map(|word| word.split(',')).filter(|part| !part.is_empty());
    let number = |part: &str| {
        part.parse().map_err(|_| {
            let part = quote(part);
            VERB.usage_error(localized!(
                "`{part}` is not the number of a sample, as `sample` counts them",
                "`{part}` 不是样本编号（与 `sample` 的编号相同）"
            ))
        })
    };
    parts.map(number).collect()
}

/// The samples that are dropped.
fn dropped(session: &Session, lang: Lang) -> Output {
    const NONE: Localized = localized("no sample is dropped", "没有去掉任何样本");
    let numbers: Vec<_> = session.dropped().iter().map(usize::to_string).collect();
    if numbers.is_empty() {
        return Output::Text(NONE.in_lang(lang).to_string());
    }
    let (count, numbers) = (count(numbers.len(), SAMPLE, lang), numbers.join(", "));
    Output::Text(localized!(
        lang,
        "{count} dropped, from the next step on: {numbers}",
        "从下一步起去掉 {count}：{numbers}"
    ))
}

/// The first `most` samples that were left out.
fn skipped(samples: &[Skipped], most: usize, lang: Lang) -> Output {
    const NONE: Localized = localized("no sample was skipped", "没有跳过的样本");
    if samples.is_empty() {
        return Output::Text(NONE.in_lang(lang).to_string());
    }
    let row = |Skipped { origin, reason }: &Skipped| {
        vec![origin.dataset.to_string(), origin.to_string(), reason.kind().localize(lang), reason.localize(lang)]
    };
    let left = samples.len().saturating_sub(most);
    let more =
        || localized!(lang, "{left} more; `data skipped all` lists all", "还有 {left} 个；`data skipped all` 列出全部");
    let count = count(samples.len(), SAMPLE, lang);
    let headers = [
        localized("dataset", "数据集"),
        localized("sample", "样本"),
        localized("problem", "问题"),
        localized("reason", "原因"),
    ];
    Output::Table(Table {
        title: localized!(lang, "{count} skipped", "跳过了 {count}"),
        headers: headers.map(|text| text.in_lang(lang)).to_vec(),
        rows: samples.iter().take(most).map(row).collect(),
        note: if left > 0 { more() } else { String::new() },
    })
}
