//! `recipe`: the session as LLaMA-Factory's YAML and command line, and back.

use std::path::Path;

use tunebook_engine::Session;
use tunebook_engine::recipe::Recipe;
use tunebook_engine::recipe::RecipeDocument;

use crate::error::Result;
use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::recipe;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "recipe",
    aliases: &[],
    usage: "recipe show | save FILE | load FILE",
    help: localized(
        "show or save the session as a LLaMA-Factory recipe, or load a recipe",
        "把会话显示或保存为 \
                                                                                        LLaMA-Factory 的训练配方，或加\
                                                                                        载配方",
    ),
    details: localized(
        "`recipe show` prints the YAML and the `llamafactory-cli train` command that LLaMA-Factory's web page would \
         show for these settings. `recipe save` writes the YAML to a file that both `llamafactory-cli train FILE` and \
         `tunebook train FILE` can run. `recipe load` reads such a file: it applies its settings and loads its model, \
         data and adapter, so that `train` can start. Keys that only concern Python or the machine are accepted and \
         kept; keys that would change the result but are not supported are refused, and each is reported.",
        "`recipe show` 显示 YAML，以及 LLaMA-Factory 网页对这些设置会显示的 `llamafactory-cli train` 命令。`recipe \
         save` 把 YAML 写到文件，`llamafactory-cli train FILE` 和 `tunebook train FILE` 都能执行。`recipe load` 读取这\
         样的文件：应用其中的设置，加载其中的模型、数据和适配器，接着就可以 `train`。只与 Python 或机器有关的键会接受\
         并保留；会改变结果但不支持的键会被拒绝，并逐个指出。",
    ),
    examples: &[
        ("recipe show", localized("to read it, or to paste it into a shell", "查看，或粘贴到终端")),
        (
            "recipe save creatures.yaml",
            localized("for LLaMA-Factory on a larger machine", "给更大的机器上的 LLaMA-Factory"),
        ),
        (
            "recipe load creatures.yaml",
            localized("then `train 5` runs its first five steps", "之后 `train 5` 训练其中的前五步"),
        ),
    ],
    takes: Takes::Words(1, 2),
    options: &[],
    settings: &[],
    complete: |given| match given {
        [] => Complete::Words(&["show", "save", "load"]),
        ["save" | "load"] => Complete::Files,
        _ => Complete::Nothing,
    },
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    match (args.word(0), args.word(1)) {
        (Some("show"), None) => Ok(Output::Text(show(&session.recipe(), cx.lang()))),
        (Some("save"), Some(file)) => save(&session.recipe(), &parse::path(file), cx.lang()),
        (Some("load"), Some(file)) => {
            let read = Recipe::read(&parse::path(file))?;
            recipe::prepare(&read, session, cx)?;
            Ok(Output::Nothing)
        }
        (Some("save" | "load"), None) => Err(VERB.usage_error(localized!("the file name is missing", "缺少文件名"))),
        _ => Err(VERB.usage_error(localized!(
            "`recipe` is followed by show, save or load",
            "`recipe` 后面应为 show、save 或 \
                                                                                       load"
        ))),
    }
}

fn show(document: &RecipeDocument, lang: Lang) -> String {
    let notes: String = notes(document, lang).into_iter().map(|note| format!("\n\n{note}")).collect();
    format!("{}\n{}{notes}", document.yaml(), document.command().trim_end())
}

fn save(document: &RecipeDocument, file: &Path, lang: Lang) -> Result<Output> {
    document.save(file)?;
    let notes: String = notes(document, lang).into_iter().map(|note| format!("\n{note}")).collect();
    let file = file.display();
    Ok(Output::Text(localized!(lang, "saved to {file}{notes}", "已保存到 {file}{notes}")))
}

/// What somebody who runs it must know.
fn notes(document: &RecipeDocument, lang: Lang) -> Vec<String> {
    let mut notes = Vec::new();
    if !document.missing.is_empty() {
        let missing = document.missing.join(", ");
        notes.push(localized!(
            lang,
            "LLaMA-Factory also needs {missing}, which this session does not have",
            "LLaMA-Factory 还需要 {missing}，而会话里没有"
        ));
    }
    if !document.left_out.is_empty() {
        let settings = document.left_out.join(", ");
        notes.push(localized!(
            lang,
            "not included, because LLaMA-Factory has no such setting: {settings}",
            "没有写入，因为 LLaMA-Factory 没有这样的设置：{settings}"
        ));
    }
    if document.left_out.iter().any(|setting| setting == "hub=modelscope") {
        const HUB: Localized = localized(
            "set USE_MODELSCOPE_HUB=1 in LLaMA-Factory's environment to download from ModelScope",
            "在 LLaMA-Factory 的环境中设 USE_MODELSCOPE_HUB=1，就从 ModelScope 下载",
        );
        notes.push(HUB.in_lang(lang).to_string());
    }
    notes
}
