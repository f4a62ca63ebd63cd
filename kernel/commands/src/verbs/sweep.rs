//! `sweep`: the same training with several settings.

use tunebook_engine::Session;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::sweep;
use crate::sweep::Grid;
use crate::sweep::Range;
use crate::sweep::Sweep;
use crate::sweep::SweepBy;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

use tunebook_engine::settings::Group;

/// Steps of each training where no number is given.
const STEPS: usize = 30;
/// Steps of a range test.
const RANGE_STEPS: usize = 100;

pub(super) static VERB: Verb = Verb {
    name: "sweep",
    aliases: &[],
    usage: "sweep SETTING=A,B[,…] [SETTING=…] [steps=30] [by=loss|eval_loss] [keep=true] | sweep learning_rate=LOW..HIGH",
    help: localized("try several settings, or find a learning rate", "尝试多组设置，或寻找学习率"),
    details: localized(
        "Trains every combination for `steps` steps from the same point, on the same samples with the same seed: each as a \
         branch of the active adapter, or with a new adapter if a setting of `lora` is among them. The best one is turned \
         on and its settings are set; the others are dropped, unless keep=true. It is the one with the lowest eval_loss, or \
         if no samples are held out, the lowest mean training loss over the last quarter of the steps. Ctrl-C keeps what \
         is done. Nothing is written to output_dir. Values that contain commas are separated by `;`. \
         learning_rate=LOW..HIGH is the range test of Smith (2015): one training with a growing learning rate, which is \
         dropped afterwards; it names the rate at which the loss falls fastest.",
        "从同一位置、用同样的样本和随机种子，把每种组合各训练 `steps` 步：每次从启用的适配器分出一个分支；如果其中有 `lora` \
         的设置，则每次新建适配器。效果最好的会被启用，并采用它的设置；其余的丢弃，除非 keep=true。留出了样本时比较 \
         eval_loss，否则比较最后四分之一步的平均训练损失，越低越好。Ctrl-C 保留已完成的部分。不写 output_dir。值本身含逗\
         号时用 `;` 分隔。learning_rate=LOW..HIGH 是 Smith（2015）的学习率范围测试：一次训练中学习率逐步增大，训练结果随\
         后丢弃；它给出损失下降最快处的学习率。",
    ),
    examples: &[
        ("sweep learning_rate=1e-5,1e-4,1e-3 steps=2", localized("three learning rates", "三个学习率")),
        (
            "sweep lr=1e-4,1e-3 rank=4,8 steps=1 keep=true",
            localized("four adapters, which all stay", "四个适配器，全部保留"),
        ),
        ("sweep learning_rate=1e-6..1e-2 steps=4", localized("which rate to begin with", "从多大的学习率开始")),
    ],
    takes: Takes::Values,
    options: &[
        VerbOption {
            name: "steps",
            help: localized("Optimizer steps of each training.", "每次训练的优化步数。"),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "by",
            help: localized("What is compared: loss or eval_loss.", "比较什么：loss 或 eval_loss。"),
            repeats: false,
            complete: Complete::Words(&["loss", "eval_loss"]),
        },
        VerbOption {
            name: "keep",
            help: localized("Whether all adapters stay.", "是否保留全部适配器。"),
            repeats: false,
            complete: Complete::Words(&["true", "false"]),
        },
    ],
    settings: &[Group::Lora, Group::Method, Group::Training],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let steps = args.number("steps", &VERB)?;
    if let Some(range) = range(args, steps.unwrap_or(RANGE_STEPS))? {
        return sweep::range_test(range, session, cx);
    }
    if args.settings.is_empty() {
        return Err(VERB.usage_error(localized!("no setting is given", "没有给出要尝试的设置")));
    }
    let by = match args.options("by").next() {
        None => None,
        Some("loss") => Some(SweepBy::Loss),
        Some("eval_loss") => Some(SweepBy::EvalLoss),
        Some(other) => {
            let other = quote(other);
            return Err(VERB.usage_error(localized!(
                "by must be loss or eval_loss, not `{other}`",
                "by 应为 loss 或 eval_loss，而不是 `{other}`"
            )));
        }
    };
    let keeps_all = args.switch("keep", &VERB)?.unwrap_or(false);
    let grid = Grid::parse(&args.settings)?;
    Sweep { grid, steps: steps.unwrap_or(STEPS), by, keeps_all }.run(session, cx)
}

/// The learning rates of a range test, if it is one.
fn range(args: &Args, steps: usize) -> Result<Option<Range>> {
    let ranges = args.settings.iter().filter_map(|(key, value)| Some((*key, value.split_once("..")?)));
    let Some((key, (low, high))) = ranges.into_iter().next() else { return Ok(None) };
    if key != "learning_rate" || args.settings.len() > 1 || args.options.iter().any(|(name, _)| *name != "steps") {
        return Err(VERB.usage_error(localized!(
            "`..` is for the learning rate alone",
            "`..` 只能用于 learning_rate，并且单独使用"
        )));
    }
    match (low.trim().parse::<f64>(), high.trim().parse::<f64>()) {
        (Ok(first), Ok(last)) if first > 0.0 && last > first && last.is_finite() => {
            Ok(Some(Range { first, last, steps }))
        }
        _ => {
            let range = quote(&format!("{low}..{high}"));
            Err(VERB.usage_error(localized!(
                "`{range}` is not a range of learning rates such as 1e-6..1e-2",
                "`{range}` 不是学习率的范围，例如 1e-6..1e-2"
            )))
        }
    }
}
