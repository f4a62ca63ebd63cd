//! `train`: optimizer steps.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::lang::localized;
use crate::log;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "train",
    aliases: &[],
    usage: "train [N] [learning_rate= num_train_epochs= per_device_train_batch_size= …]",
    help: localized("train the adapter: N steps, or to the end of its epochs", "训练适配器：N 步，或到训练轮数结束"),
    details: localized(
        "Ctrl-C stops at once where nothing of a step is complete yet, else after the micro-batches on their way; \
         `train` goes on from there. In the beginning it says what memory it takes, and while it runs, one line of \
         advice where the loss does not fall, rises or swings, or it becomes slow. With output_dir set, the log, checkpoints and the adapter are written there, and `resume` \
         goes on from a checkpoint. What `data` held out (val_size) is evaluated every eval_steps. Short names: lr, \
         epochs, batch, accum, scheduler.",
        "Ctrl-C 使训练停下：一步之中还没有完成的小批次时立即停，否则等进行中的小批次完成；再次 `train` 从那里继续。\
         设了 output_dir 时，日志、检查点和适配器写到那里，`resume` 从检查点继续。`data` 留出的样本（val_size）每 eval_steps 步评估一次。开始时说明需要多少内存；训练中\
         若损失不降、上升、波动，或速度变慢，会给出一行建议。简称：lr、epochs、batch、accum、scheduler。",
    ),
    examples: &[
        ("train", localized("to the end of num_train_epochs", "到 num_train_epochs 结束")),
        ("train 10", localized("ten optimizer steps", "十个优化步")),
        ("train 10 lr=1e-4 batch=1 accum=4", localized("with other settings, which stay set", "换其他设置，之后保持")),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Training, Group::Evaluation, Group::Output],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    log::train(args.count(0, &VERB)?, session, cx)
}
