//! `set`: changes settings.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;
use tunebook_engine::settings::declaration;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "set",
    aliases: &[],
    usage: "set KEY=VALUE [KEY=VALUE…]",
    help: "change settings",
    details: "`show` lists the settings, `help KEY` explains one. Most verbs take settings themselves: `train 10 lr=1e-4`. \
              A setting counts from the next command that uses it; `none` takes an optional one back.",
    examples: &[
        ("set learning_rate=1e-4 batch=1", "two at once; batch is short for per_device_train_batch_size"),
        ("set output_dir=saves/creatures", "where train writes its log and checkpoints"),
        ("set temperature=none", "leaves it to the model again"),
    ],
    takes: Takes::Words(0, 2),
    options: &[],
    settings: &[
        Group::Model,
        Group::Pictures,
        Group::Data,
        Group::Lora,
        Group::Freeze,
        Group::Method,
        Group::Training,
        Group::Evaluation,
        Group::Generation,
        Group::Output,
        Group::Export,
    ],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    if let Some(key) = args.word(0) {
        let key = declaration(key)?.name;
        let value = args.word(1).unwrap_or("VALUE");
        return Err(VERB.usage_error(format!("write `set {key}={value}`")));
    }
    if args.settings.is_empty() {
        return Err(VERB.usage_error("`set` needs a setting"));
    }
    let settings = session.settings();
    let lines: Result<Vec<_>> =
        args.settings.iter().map(|(key, _)| Ok(format!("{key} = {}", settings.get(key)?))).collect();
    Ok(Output::Text(lines?.join("\n")))
}
