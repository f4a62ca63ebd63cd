//! `push`: uploads an adapter or a model to a hub.

use tunebook_engine::Session;
use tunebook_engine::hub::push::Request;
use tunebook_engine::hub::push::Subject;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

const SWITCH: Complete = Complete::Words(&["true", "false"]);

const FOLDER: VerbOption = VerbOption {
    name: "folder",
    help: localized("a folder that `save` or `export` has written", "`save` 或 `export` 写出的文件夹"),
    repeats: false,
    complete: Complete::Folders,
};
const ADAPTER: VerbOption = VerbOption {
    name: "adapter",
    help: localized("an adapter of the session, by default the active one", "会话中的适配器，默认是启用的那个"),
    repeats: false,
    complete: Complete::Adapters,
};
const PRIVATE: VerbOption = VerbOption {
    name: "private",
    help: localized("false: everybody may see it (default: true)", "false：所有人都能看到（默认为 true）"),
    repeats: false,
    complete: SWITCH,
};
const REVISION: VerbOption = VerbOption {
    name: "revision",
    help: localized("the branch (default: main)", "分支（默认为 main）"),
    repeats: false,
    complete: Complete::Nothing,
};
const MESSAGE: VerbOption = VerbOption {
    name: "message",
    help: localized("what the commit says", "提交说明"),
    repeats: false,
    complete: Complete::Nothing,
};
const YES: VerbOption = VerbOption {
    name: "yes",
    help: localized(
        "true: send it; without it, only what would be sent is shown",
        "true：上传；不写则只显示会上传什么",
    ),
    repeats: false,
    complete: SWITCH,
};

pub(super) static VERB: Verb = Verb {
    name: "push",
    aliases: &[],
    usage: "push OWNER/NAME [folder=FOLDER | adapter=NAME] [private=] [revision=] [message=] [yes=true]",
    help: localized("upload an adapter or a model to Hugging Face", "把适配器或模型上传到 Hugging Face"),
    details: localized(
        "Without yes=true nothing leaves this machine: it shows which files would go where, and who could see them. The \
         repository is made if there is none, and is private unless private=false. Only what `save` and `export` write is \
         sent, no training state, no samples or answers. An upload that was stopped goes on with the same line. The token \
         is that of HF_TOKEN or huggingface_hub; HF_ENDPOINT names another hub with the same interface.",
        "不写 yes=true 时没有任何内容离开本机：只显示哪些文件会上传到哪里、谁能看到。没有仓库时会新建，除非 private=false，否则是私有的。\
         只上传 `save` 和 `export` 写出的文件，不上传训练状态、样本和回答。中断的上传用同一行继续。令牌取自 HF_TOKEN 或 \
         huggingface_hub；HF_ENDPOINT 可指定接口相同的其他社区。",
    ),
    examples: &[
        (
            "push someone/creatures",
            localized("shows what of the active adapter would be sent", "显示启用的适配器会上传什么"),
        ),
        ("push someone/creatures yes=true", localized("sends it, to a private repository", "上传到私有仓库")),
        (
            "push someone/creatures-3b folder=models/creatures private=false",
            localized("an exported model, for everybody to see", "导出的模型，所有人可见"),
        ),
    ],
    takes: Takes::Words(1, 1),
    options: &[FOLDER, ADAPTER, PRIVATE, REVISION, MESSAGE, YES],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let option = |option: VerbOption| args.options(option.name).next();
    let switch =
        |option: VerbOption, default| Ok::<_, crate::Error>(args.switch(option.name, &VERB)?.unwrap_or(default));
    let subject = match (option(FOLDER), option(ADAPTER)) {
        (Some(folder), None) => Subject::Folder(parse::path(folder)),
        (None, Some(name)) => Subject::Adapter(name.to_string()),
        (None, None) => Subject::Adapter(session.active_adapter()?.to_string()),
        (Some(_), Some(_)) => {
            return Err(
                VERB.usage_error(localized!("give folder= or adapter=, not both", "folder= 和 adapter= 只能写一个"))
            );
        }
    };
    let request = Request {
        id: &args.words[0],
        is_private: switch(PRIVATE, true)?,
        revision: option(REVISION).unwrap_or("main"),
        message: option(MESSAGE).unwrap_or("Upload with tunebook"),
    };
    Ok(Output::Pushed(Box::new(session.push(subject, &request, switch(YES, false)?, &cx.context)?)))
}
