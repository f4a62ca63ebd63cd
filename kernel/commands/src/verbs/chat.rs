//! `chat`: talks with the model.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::Localized;
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

pub static VERB: Verb = Verb {
    name: "chat",
    aliases: &[],
    usage: "chat [image=FILE… temperature= top_p= max_new_tokens= …] TEXT | clear",
    help: localized("ask the model, with pictures; alone: a conversation", "向模型提问，可带图片；单独使用则进入对话"),
    details: localized(
        "Options come first, the rest of the line is the message as it is. The conversation goes on from message \
         to message until `chat clear`. Ctrl-C stops an answer and keeps what there is of it. Pictures come in \
         front of the text, or where it says <image>; those of the data sets may be named as they are there. The system \
         prompt is default_system, or else the one that all samples of the data share; another one counts from the next \
         message on.",
        "选项写在前面，其余部分原样作为消息。对话一直延续，直到 `chat clear`。Ctrl-C 停止回答，已写出的部分保留。图\
         片放在文字前面，或放在写有 <image> 的地方；数据集里的图片可以直接用数据集中的名字。系统提示词是 \
         default_system，否则是数据中所有样本共有的；换了之后从下一条消息起生效。",
    ),
    examples: &[
        ("chat image=cat.png What's this?", localized("one picture", "一张图片")),
        ("chat image=a.png image=b.png Which of the two is larger?", localized("two pictures", "两张图片")),
        ("chat temperature=0 And why?", localized("goes on, taking the likeliest words", "继续对话，取最可能的词")),
        (
            "chat default_system=\"You are a botanist.\" What's this?",
            localized("with a system prompt, which stays", "带系统提示词，之后保持"),
        ),
        ("chat clear", localized("forgets the conversation", "忘掉这段对话")),
        ("chat", localized("every line is a message, until Ctrl-D", "每行一条消息，Ctrl-D 结束")),
    ],
    takes: Takes::Text,
    options: &[VerbOption {
        name: "image",
        help: localized("A picture for the message; may be given several times.", "消息所带的图片；可以写多个。"),
        repeats: true,
        complete: Complete::Files,
    }],
    settings: &[Group::Prompt, Group::Generation, Group::Pictures],
    complete: |_| Complete::Words(&["clear"]),
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let images = pictures(session, args)?;
    match (args.text.as_str(), images.is_empty()) {
        ("", true) => {
            session.status().model.ok_or(tunebook_engine::Error::NoModel)?;
            Ok(Output::Conversation)
        }
        ("", false) => Err(VERB.usage_error(localized!("a picture needs a question about it", "有图片还要有问题"))),
        ("clear", true) => {
            session.chat_clear();
            const FORGOTTEN: Localized = localized("the conversation is forgotten", "对话已忘掉");
            Ok(Output::Text(FORGOTTEN.in_lang(cx.lang()).to_string()))
        }
        (text, _) => {
            images.iter().for_each(|image| (cx.show)(Output::Picture(image.clone())));
            Ok(Output::Answer(session.chat(text, &images, &cx.context)?))
        }
    }
}
