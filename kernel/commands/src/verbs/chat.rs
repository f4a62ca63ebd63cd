//! `chat`: talks with the model.

use tunebook_engine::Details;
use tunebook_engine::Session;
use tunebook_engine::output::heat_map;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::parse::path;
use crate::picture::pictures;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

/// Where a heat map goes.
const SAVE: &str = "save";

pub(super) static VERB: Verb = Verb {
    name: "chat",
    aliases: &[],
    usage: "chat [image=FILE… n= alternatives= regions=true temperature= top_p= max_new_tokens= …] TEXT | clear",
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
         likeliest in its place: by the logits at temperature 1, before repetition_penalty, top_k and top_p. \
         regions=true shows which regions of the images the answer rests on, as a heat map in a notebook, and in a file \
         with save=FILE.png: the gradient of the answer's log-probability with respect to the features of each image \
         token, times the features (Shrikumar et al. 2016, after Simonyan et al. 2013). It takes as long as a training \
         step on the conversation. It can show that an answer hangs on a region. It cannot show what the model saw \
         there: the vision tower has mixed every region with the whole picture, the gradient only tells of small \
         changes and is near 0 where the model is nearly certain, and an answer that follows from the text alone has \
         regions, too.",
        "选项写在前面，其余部分原样作为消息。对话一直延续，直到 `chat clear`。Ctrl-C 停止回答，已生成的部分保留。图片\
         放在文字前面，或放在写有 <image> 的地方；数据集里的图片可以直接写数据集中的路径。系统提示词是 \
         default_system，没有设置则是数据中所有样本共有的；更换后从下一条消息起生效。n=4 给出四个回答，随机种子各不相\
         同，对话接着第一个继续。alternatives=5 在回答下面显示每个 token 的概率，以及这个位置上概率最高的五个：按 temperature \
         为 1 的 logits 计算，未经 repetition_penalty、top_k 和 top_p 处理。regions=true 显示回答依据图片的哪些区域：在笔记本中\
         是热力图，加上 save=FILE.png 则存成文件。算法是回答的对数概率对每个图像 token 特征的梯度乘以特征（Shrikumar 等 \
         2016，源自 Simonyan 等 2013），耗时相当于在这段对话上训练一步。它能表明回答依赖某个区域，但不能说明模型在那里看到\
         了什么：视觉塔已把每个区域与整张图片混合，梯度只反映微小的变化，模型几乎确定时接近 0，而且仅凭文字就能得出的回答也会有区域。",
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
        (
            "chat regions=true image=cat.png What colour is it?",
            localized("which part of the image the answer rests on", "回答依据图片的哪个部分"),
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
        VerbOption {
            name: "regions",
            help: localized(
                "Whether to show which regions of the images the answer rests on: true or false.",
                "是否显示回答依据图片的哪些区域：true 或 false。",
            ),
            repeats: false,
            complete: Complete::Words(&["true", "false"]),
        },
        VerbOption {
            name: SAVE,
            help: localized("File for the heat map of the regions, a .png.", "把区域的热力图存到这个 .png 文件。"),
            repeats: false,
            complete: Complete::Files,
        },
    ],
    settings: &[Group::Prompt, Group::Generation, Group::Pictures],
    complete: |_| Complete::Words(&["clear"]),
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let images = pictures(session, args)?;
    let n = args.number("n", &VERB)?.unwrap_or(1);
    let details = Details {
        alternatives: args.number("alternatives", &VERB)?.unwrap_or(0),
        regions: args.switch("regions", &VERB)?.unwrap_or(false),
    };
    if n > 1 && details != Details::default() {
        return Err(VERB.usage_error(localized!(
            "alternatives= and regions= are for one answer",
            "alternatives= 和 regions= 只用于一个回答"
        )));
    }
    let file = args.options(SAVE).next().map(path);
    if let Some(file) = &file
        && !(details.regions && file.extension().is_some_and(|ending| ending == "png"))
    {
        return Err(VERB.usage_error(localized!(
            "save= names a .png file for regions=true",
            "save= 为 regions=true 指定一个 .png 文件"
        )));
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
                1 => {
                    let report = session.chat_detailed(text, &images, details, &cx.context)?;
                    if let Some(file) = file.filter(|_| !report.regions.is_empty()) {
                        heat_map::write(&report.regions, &file)?;
                    }
                    Ok(Output::Answer(report))
                }
                n => Ok(Output::Compared(session.chat_n(text, &images, n, &cx.context)?)),
            }
        }
    }
}
