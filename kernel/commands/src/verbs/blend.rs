//! `blend`: a new adapter as the weighted sum of others.

use tunebook_engine::Session;
use tunebook_nn::adapter::Combination;
use tunebook_nn::adapter::MajoritySign;
use tunebook_nn::adapter::Pruning;
use tunebook_nn::adapter::TaskMerge;
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
use crate::weighted_sum;

pub(super) static VERB: Verb = Verb {
    name: "blend",
    aliases: &[],
    usage: "blend NEW=WEIGHT*ADAPTER±WEIGHT*ADAPTER… [combination_type= density= svd_rank= majority_sign_method=]",
    help: localized(
        "create an adapter as the weighted sum of others and activate it",
        "把几个适配器加权合并成一个新适配器并启用",
    ),
    details: localized(
        "As PEFT's `add_weighted_adapter`. svd, the default, adds up what the adapters do and keeps svd_rank singular \
         values of it, or as many as the largest rank; cat keeps all of it, and its rank is the sum of the ranks. \
         linear adds up A and B by themselves, an approximation that needs equal ranks. magnitude_prune keeps the \
         largest values, the share density of them; ties also drops those whose sign most of the adapters do not \
         have. dare_linear and dare_ties keep values at random, by the setting `seed`. With _svd at the end these \
         work on the products B A, for any ranks. The new adapter has lora_alpha = r; `train` goes on with it and \
         `save` writes it for PEFT. DoRA, `freeze`, `full` and additional_target cannot be blended.",
        "与 PEFT 的 `add_weighted_adapter` 相同。默认的 svd 把各适配器的作用相加，保留其中 svd_rank 个奇异值，不给则按最大的\
         秩；cat 全部保留，新的秩是各秩之和。linear 把 A 与 B 分别相加，是近似，要求秩相同。magnitude_prune 只留绝对值最大的\
         值，比例为 density；ties 还去掉符号与多数适配器不同的值。dare_linear 和 dare_ties 随机保留，由设置 `seed` 决定。末尾带 \
         _svd 的作用于乘积 B A，不限秩。新适配器的 lora_alpha = r；可以接着 `train`，`save` 会写成 PEFT 能读的格式。DoRA、\
         `freeze`、`full` 和 additional_target 不能合并。",
    ),
    examples: &[
        ("blend mix=0.7*default+0.3*old", localized("more of one than of the other", "一个多些，一个少些")),
        ("blend difference=default-old", localized("what one has that the other has not", "一个有而另一个没有的")),
        ("blend both=default+old combination_type=cat", localized("both, exactly", "两者精确相加")),
        (
            "blend lean=default+old combination_type=ties density=0.2",
            localized("the largest fifth of each, without conflicts", "各取最大的五分之一，去掉冲突"),
        ),
    ],
    takes: Takes::Assignment,
    options: &[
        VerbOption {
            name: "combination_type",
            help: localized("How the adapters become one; svd unless given.", "合并方式；不给则为 svd。"),
            repeats: false,
            complete: Complete::Words(&COMBINATION_TYPES),
        },
        VerbOption {
            name: "density",
            help: localized(
                "Share of values that are kept, above 0 and up to 1.",
                "保留的值所占的比例，大于 0，不超过 1。",
            ),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "svd_rank",
            help: localized("Rank of the new adapter.", "新适配器的秩。"),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "majority_sign_method",
            help: localized(
                "Whether ties elects a sign by the sum of the values (total, the default) or of their signs (frequency).",
                "ties 按值之和（total，默认）还是按符号之和（frequency）选定符号。",
            ),
            repeats: false,
            complete: Complete::Words(&["total", "frequency"]),
        },
    ],
    settings: &[],
    complete: |words| if words.is_empty() { Complete::Nothing } else { Complete::Terms },
    run,
};

const COMBINATION_TYPES: [&str; 11] = [
    "svd",
    "cat",
    "linear",
    "ties",
    "dare_linear",
    "dare_ties",
    "magnitude_prune",
    "ties_svd",
    "dare_linear_svd",
    "dare_ties_svd",
    "magnitude_prune_svd",
];

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let combination = combination(args)?;
    let adapters: Vec<_> = session.adapters().into_iter().map(|report| report.name).collect();
    let sum = weighted_sum::parse(&args.words.join(" "), &adapters).map_err(|problem| VERB.usage_error(problem))?;
    Ok(Output::Adapter(session.blend(&sum.name, &sum.terms, combination, &cx.context)?))
}

/// # Errors
/// A value that an option does not take, an option without effect, or none where one is needed.
fn combination(args: &Args) -> Result<Combination> {
    let name = choice(args, "combination_type", &COMBINATION_TYPES)?;
    let method = name.strip_suffix("_svd").unwrap_or(name);
    let is_svd = name.ends_with("svd");
    let is_pruned = !matches!(method, "svd" | "cat" | "linear");
    let is_elected = matches!(method, "ties" | "dare_ties");
    for (option, has_effect) in [("density", is_pruned), ("svd_rank", is_svd), ("majority_sign_method", is_elected)] {
        if !has_effect && args.options(option).next().is_some() {
            return Err(VERB.usage_error(localized!(
                "`{option}` has no effect with combination_type={name}",
                "combination_type={name} 时 `{option}` 不起作用"
            )));
        }
    }
    let pruning = if is_pruned { Some(pruning(name, args)?) } else { None };
    let majority_sign = match choice(args, "majority_sign_method", &["total", "frequency"])? {
        _ if !is_elected => None,
        "total" => Some(MajoritySign::Total),
        _ => Some(MajoritySign::Frequency),
    };
    let merge = TaskMerge { pruning, majority_sign };
    Ok(match name {
        "cat" => Combination::Cat,
        _ if is_svd => Combination::OfProducts { merge, svd_rank: svd_rank(args)? },
        _ => Combination::OfFactors(merge),
    })
}

fn pruning(name: &str, args: &Args) -> Result<Pruning> {
    let density = match args.options("density").next() {
        None => {
            return Err(VERB.usage_error(localized!(
                "combination_type={name} needs density=, the share of values that are kept, such as density=0.5",
                "combination_type={name} 需要 density=，即保留的值所占的比例，如 density=0.5"
            )));
        }
        Some(text) => {
            text.parse().ok().filter(|density| (f64::MIN_POSITIVE..=1.0).contains(density)).ok_or_else(|| {
                VERB.usage_error(localized!(
                    "density must be a number above 0 and up to 1, not `{text}`",
                    "density 应为大于 0 且不超过 1 的数，而不是 `{text}`",
                    text = quote(text)
                ))
            })?
        }
    };
    Ok(if name.starts_with("dare") { Pruning::Random { density } } else { Pruning::Magnitude { density } })
}

fn svd_rank(args: &Args) -> Result<Option<usize>> {
    const MOST: usize = 1024;
    match args.number("svd_rank", &VERB)? {
        Some(rank) if rank > MOST => Err(VERB.usage_error(localized!(
            "svd_rank must be an integer from 1 to {MOST}, not {rank}",
            "svd_rank 应为 1 到 {MOST} 的整数，而不是 {rank}"
        ))),
        rank => Ok(rank),
    }
}

/// The value of an option that is one of a few words; the first of them where it is not given.
fn choice(args: &Args, option: &str, choices: &[&'static str]) -> Result<&'static str> {
    let Some(given) = args.options(option).next() else { return Ok(choices[0]) };
    let among = choices.join(", ");
    choices.iter().find(|choice| **choice == given).copied().ok_or_else(|| {
        VERB.usage_error(localized!(
            "`{given}` is not a value for {option}, which accepts {among}",
            "`{given}` 不能作为 {option} 的值，可取 {among}",
            given = quote(given)
        ))
    })
}
