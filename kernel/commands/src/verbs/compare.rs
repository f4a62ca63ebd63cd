//! `compare`: one question to the base model and the adapters.

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
    name: "compare",
    aliases: &[],
    usage: "compare [image=FILE… adapter=NAME… max_new_tokens= …] TEXT",
    help: "ask the base model and the adapters the same, side by side",
    details: "Options come first, the rest of the line is the question as it is. All adapters of the session answer, or \
              those that are named. Nothing is loaded again, and the conversation of `chat` stays as it is. Ctrl-C \
              stops and keeps what is there.",
    examples: &[
        ("compare image=cat.png What's this?", "the base model and every adapter"),
        ("compare adapter=default image=cat.png Describe it.", "the base model and one of them"),
        ("compare adapter=saves/a/checkpoint-50 adapter=saves/a/checkpoint-100 Hello!", "two checkpoints"),
    ],
    takes: Takes::Text,
    options: &[
        VerbOption {
            name: "image",
            help: "A picture for the question; may be given several times.",
            repeats: true,
            complete: Complete::Files,
        },
        VerbOption {
            name: "adapter",
            help: "An adapter to ask: its name or a folder; may be given several times.",
            repeats: true,
            complete: Complete::AdaptersAndFolders,
        },
    ],
    settings: &[Group::Generation, Group::Pictures],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    if args.text.is_empty() {
        return Err(VERB.usage_error("`compare` needs a question"));
    }
    let images: Vec<_> = args.options("image").map(PathBuf::from).collect();
    let adapters: Vec<_> = args.options("adapter").map(str::to_string).collect();
    Ok(Output::Compared(session.compare(&args.text, &images, &adapters, &stage.context)?))
}
