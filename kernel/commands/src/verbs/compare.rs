//! `compare`: one question to the base model and the adapters.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::picture::pictures;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub(super) static VERB: Verb = Verb {
    name: "compare",
    aliases: &[],
    usage: "compare [image=FILE… adapter=NAME… max_new_tokens= …] TEXT",
    help: localized(
        "ask the base model and the adapters the same question, side by side",
        "向基础模型和各适配器问同一个问题，并排比较",
    ),
    details: localized(
        "Options come first; the rest of the line is the question, taken literally. All adapters of the session \
         answer, or only the given ones. Nothing is reloaded, and the conversation of `chat` does not change. Ctrl-C \
         stops and keeps the answers that are there.",
        "选项写在前面，其余部分原样作为问题。会话中的所有适配器都回答，或只由指定的回答。不重新加载任何东西，`chat` 的\
         对话也不变。Ctrl-C 停止并保留已有的回答。",
    ),
    examples: &[
        ("compare image=cat.png What's this?", localized("the base model and all adapters", "基础模型和所有适配器")),
        (
            "compare adapter=default image=cat.png Describe it.",
            localized("the base model and one adapter", "基础模型和其中一个适配器"),
        ),
        (
            "compare adapter=saves/a/checkpoint-50 adapter=saves/a/checkpoint-100 Hello!",
            localized("two checkpoints", "两个检查点"),
        ),
    ],
    takes: Takes::Text,
    options: &[
        VerbOption {
            name: "image",
            help: localized("Image for the question; can be repeated.", "问题所带的图片；可以写多个。"),
            repeats: true,
            complete: Complete::Files,
        },
        VerbOption {
            name: "adapter",
            help: localized(
                "Adapter to ask, by name or folder; can be repeated.",
                "由哪个适配器回答：名称或文件夹；可以写多个。",
            ),
            repeats: true,
            complete: Complete::AdaptersAndFolders,
        },
    ],
    settings: &[Group::Prompt, Group::Generation, Group::Pictures],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    if args.text.is_empty() {
        return Err(VERB.usage_error(localized!("`compare` needs a question", "`compare` 需要一个问题")));
    }
    let images = pictures(session, args)?;
    let adapters: Vec<_> = args.options("adapter").map(str::to_string).collect();
    Ok(Output::Compared(session.compare(&args.text, &images, &adapters, &cx.context)?))
}
