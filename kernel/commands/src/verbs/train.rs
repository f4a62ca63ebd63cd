//! `train`: optimizer steps.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Error;
use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::parse::BACKGROUND;
use crate::training;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub(super) static VERB: Verb = Verb {
    name: "train",
    aliases: &[],
    usage: "train [N] [learning_rate= num_train_epochs= per_device_train_batch_size= …] [&]",
    help: localized("train the adapter for N steps, or to the end of its epochs", "训练适配器 N 步，或到训练轮数结束"),
    details: localized(
        "Training starts with a report of the memory it needs, and gives a line of advice if the loss does not fall, \
         rises or fluctuates, or if it becomes slow. Ctrl-C stops immediately, or after the current micro-batches if part \
         of the step is already accumulated; `train` continues from there. If output_dir is set, the log, checkpoints \
         and the adapter are written there, and `resume` continues from a checkpoint. The samples that `data` held out \
         (val_size) are evaluated every eval_steps. With `&` at its end (or background=true) it trains in the background: \
         `chat`, `plot`, `evaluate` and all else that does not change what trains are answered meanwhile, by the adapter \
         as it is after the last step, and the training has the same bits as without them. `set` counts from the next \
         step on. `jobs`, `watch`, `wait` and `stop` are about such a training. Short names: lr, epochs, batch, accum, \
         scheduler.",
        "开始时报告训练需要多少内存；训练中若损失不降、上升或波动，或速度变慢，会给出一行建议。Ctrl-C 立即停止；如果这\
         一步已累积了一部分，则等当前的微批次完成后停止；再次 `train` 从那里继续。设了 output_dir 时，日志、检查点和适\
         配器写到那里，`resume` 从检查点继续。`data` 留出的样本（val_size）每 eval_steps 步评估一次。行末加 `&`\
         （或写 background=true）则在后台训练：期间 `chat`、`plot`、`evaluate` 等不改变训练内容的命令照常回答，用的是上\
         一步之后的适配器，训练结果与没有提问时逐位相同；`set` 从下一步起生效。`jobs`、`watch`、`wait`、`stop` 用来查\
         看、等待和停止后台训练。简称：lr、epochs、batch、accum、scheduler。",
    ),
    examples: &[
        ("train", localized("to the end of num_train_epochs", "到 num_train_epochs 结束")),
        ("train 10", localized("ten optimizer steps", "十个优化步")),
        ("train 10 lr=1e-4 batch=1 accum=4", localized("with other settings, which stay set", "换其他设置，之后保持")),
        ("train 200 &", localized("in the background, to go on meanwhile", "在后台训练，同时可以做别的")),
    ],
    takes: Takes::Words(0, 1),
    options: &[VerbOption {
        name: BACKGROUND,
        help: localized("Whether it trains in the background, as with `&`.", "是否在后台训练，与 `&` 相同。"),
        repeats: false,
        complete: Complete::Words(&["true", "false"]),
    }],
    settings: &[Group::Training, Group::Evaluation, Group::Output],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let in_background = args.switch(BACKGROUND, &VERB)?.unwrap_or(false);
    let steps = args.count(0, &VERB)?;
    match in_background {
        false => training::train(steps, session, cx),
        true if !cx.scripts.is_empty() => Err(Error::BackgroundInScript),
        true => training::start(steps, session, cx),
    }
}
