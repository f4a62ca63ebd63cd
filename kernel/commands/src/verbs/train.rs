//! `train`: optimizer steps.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::log;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "train",
    aliases: &[],
    usage: "train [N] [learning_rate= num_train_epochs= per_device_train_batch_size= …]",
    help: "train the adapter: N steps, or to the end of its epochs",
    details: "Ctrl-C stops between two micro-batches; `train` goes on from there. With output_dir set, the log, \
              checkpoints and the adapter are written there, and `resume` goes on from a checkpoint. What `data` held out \
              (val_size) is evaluated every eval_steps. Short names: lr, epochs, batch, accum, scheduler.",
    examples: &[
        ("train", "to the end of num_train_epochs"),
        ("train 10", "ten optimizer steps"),
        ("train 10 lr=1e-4 batch=1 accum=4", "with other settings, which stay set"),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Training, Group::Evaluation, Group::Output],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    log::train(args.count(0, &VERB)?, session, stage)
}
