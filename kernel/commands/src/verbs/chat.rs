//! `chat`: talks with the model.

use tunebook_engine::Details;
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

pub(super) static VERB: Verb = Verb {
    name: "chat",
    aliases: &[],
    usage: "chat [image=FILE… n= alternatives= temperature= top_p= max_new_tokens= …] TEXT | clear",
    help: localized(
        "ask the model, with images if you like; without TEXT: open a conversation",
        "向模型提问，可带图片；不\
                                                                                             写 TEXT 则进入对话",
    ),
    details: localized(
        "Options come first; the rest of the line is the message, taken literally. The conversation continues from \
         message to message until `chat clear`. Ctrl-C stops an answer and keeps the part that is there. Images are \
         placed before the text, or where it says <image>; images of the datasets can be given by the paths used \
         there. The system prompt is default_system, or else the one that all samples of the data share; a new one \
         takes effect with the next message. n=4 gives four answers, each with its own seed, and the conversation goes \
         on with the first. alternatives=5 shows below the answer how likely each token was, and which five were the \
         likeliest in its place: by the logits at temperature 1, before repetition_penalty, top_k and top_p.",
        "选项写在前面，其余部分原样作为消息。对话一直延续，直到 `chat clear`。Ctrl-C 停止回答，已生成的部分保留。图片\
         放在文字前面，或放在写有 <image> 的地方；数据集里的图片可以直接写数据集中的路径。系统提示词是 \
         default_system，没有设置则是数据中所有样本共有的；更换后从下一条消息起生效。n=4 给出四个回答，随机种子各不相\
         同，对话接着第一个继续。alternatives=5 在回答下面显示每个 token 的概率，以及这个位置上概率最高的五个：按 temperature \
         为 1 的 logits 计算，未经 repetition_penalty、top_k 和 top_p 处理。",
    ),
    examples: &[
        ("chat image=cat.png What's this?", localized("one image", "一张图片")),
        ("chat image=a.png image=b.png Which of the two is larger?", localized("two images", "两张图片")),
        (
            "chat temperature=0 And why?",
            localized(
                "continues, taking the most likely tokens",
                "继续对话，取概率最高的 \
                                                                                          token",
            ),
        ),
        (
            "chat default_system=\"You are a botanist.\" What's this?",
            localized("with a system prompt, which stays set", "设置系统提示词，之后保持"),
        ),
        (
            "chat n=4 temperature=1 image=cat.png Write a caption.",
            localized("four answers side by side", "四个回答，并排显示"),
        ),
        (
            "chat alternatives=5 image=cat.png What colour is it?",
            localized("how sure it was, token by token", "逐个 token 显示模型有多确定"),
        ),
        ("chat clear", localized("clears the conversation", "清空对话")),
        ("chat", localized("each line is a message, until Ctrl-D", "每行一条消息，Ctrl-D 结束")),
    ],
    takes: Takes::Text,
    options: &[
        VerbOption {
            name: "image",
            help: localized("Image for the message; can be repeated.", "消息所带的图片；可以写多个。"),
            repeats: true,
            complete: Complete::Files,
        },
        VerbOption {
            name: "n",
            help: localized("How many answers to give.", "给出几个回答。"),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "alternatives",
            help: localized(
                "How many of the likeliest tokens to show for each token of the answer.",
                "回答的每个 token 显示几个概率最高的 token。",
            ),
            repeats: false,
            complete: Complete::Nothing,
        },
    ],
    settings: &[Group::Prompt, Group::Generation, Group::Pictures],
    complete: |_| Complete::Words(&["clear"]),
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let images = pictures(session, args)?;
    let n = args.number("n", &VERB)?.unwrap_or(1);
    let details = Details { alternatives: args.number("alternatives", &VERB)?.unwrap_or(0) };
    if n > 1 && details != Details::default() {
        return Err(VERB.usage_error(localized!("alternatives= is for one answer", "alternatives= 只用于一个回答")));
    }
    match (args.text.as_str(), images.is_empty()) {
        ("", true) => {
            session.status().model.ok_or(tunebook_engine::Error::NoModel)?;
            Ok(Output::Conversation)
        }
        ("", false) => Err(VERB.usage_error(localized!("an image needs a question", "除了图片，还要写问题"))),
        ("clear", true) => {
            session.chat_clear();
            const FORGOTTEN: Localized = localized("the conversation is cleared", "对话已清空");
            Ok(Output::Text(FORGOTTEN.in_lang(cx.lang()).to_string()))
        }
        (text, _) => {
            images.iter().for_each(|image| (cx.show)(Output::Picture(image.clone())));
            match n {
                1 => Ok(Output::Answer(session.chat_detailed(text, &images, details, &cx.context)?)),
                n => Ok(Output::Compared(session.chat_n(text, &images, n, &cx.context)?)),
            }
        }
    }
}
