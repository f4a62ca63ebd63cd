//! `resume`: goes on from a checkpoint.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "resume",
    aliases: &[],
    usage: "resume [FOLDER | latest] [KEY=VALUE…]",
    help: "go on from a checkpoint as if nothing had happened",
    details: "FOLDER is a checkpoint or an output folder, of which the latest is taken; `latest` is that of output_dir. The \
              model must be loaded; the data is read if none is chosen. The settings of the training are taken over, but \
              for those given along. `train` then goes on with the very next micro-batch, and ends with the adapter that \
              it would have had without the stop, bit for bit. Model and data that differ are refused.",
    examples: &[
        ("resume saves/creatures", "from the latest checkpoint there"),
        ("resume saves/creatures/checkpoint-100", "from this one"),
        ("resume latest num_train_epochs=6", "from the latest of output_dir, for more epochs"),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[
        Group::Pictures,
        Group::Data,
        Group::Lora,
        Group::Freeze,
        Group::Method,
        Group::Training,
        Group::Evaluation,
        Group::Output,
    ],
    complete: |words| if words.is_empty() { Complete::Folders } else { Complete::Nothing },
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    let folder = args.word(0).filter(|word| *word != "latest").map(parse::path);
    let is_meant = |key: &str| args.settings.iter().any(|(given, _)| *given == key);
    Ok(Output::Resumed(Box::new(session.resume(folder.as_deref(), &is_meant, &stage.context)?)))
}
