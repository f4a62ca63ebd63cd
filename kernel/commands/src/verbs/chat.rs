//! `chat`: talks with the model.

use std::path::PathBuf;

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub static VERB: Verb = Verb {
    name: "chat",
    aliases: &[],
    usage: "chat [image=FILE… temperature= top_p= max_new_tokens= …] TEXT | clear",
    help: "ask the model, with pictures; alone: a conversation",
    details: "Options come first, the rest of the line is the message as it is. The conversation goes on from message to message until `chat clear`. Ctrl-C stops an answer and keeps \
              what there is of it. Pictures come in front of the text, or where it says <image>.",
    examples: &[
        ("chat image=cat.png What's this?", "one picture"),
        ("chat image=a.png image=b.png Which of the two is larger?", "two pictures"),
        ("chat temperature=0 And why?", "goes on, taking the likeliest words"),
        ("chat clear", "forgets the conversation"),
        ("chat", "every line is a message, until Ctrl-D"),
    ],
    takes: Takes::Text,
    options: &[VerbOption {
        name: "image",
        help: "A picture for the message; may be given several times.",
        repeats: true,
        complete: Complete::Files,
    }],
    settings: &[Group::Generation, Group::Pictures],
    complete: |_| Complete::Words(&["clear"]),
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    let images: Vec<_> = args.options("image").map(PathBuf::from).collect();
    match (args.text.as_str(), images.is_empty()) {
        ("", true) => {
            session.status().model.ok_or(tunebook_engine::Error::NoModel)?;
            Ok(Output::Conversation)
        }
        ("", false) => Err(VERB.usage_error("a picture needs a question about it")),
        ("clear", true) => {
            session.chat_clear();
            Ok(Output::Text("the conversation is forgotten".to_string()))
        }
        (text, _) => Ok(Output::Answer(session.chat(text, &images, &stage.context)?)),
    }
}
