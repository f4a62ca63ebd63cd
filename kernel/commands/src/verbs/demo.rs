//! `demo`: a model and data that come with the program.

use tunebook_data::creatures::CREATURES_HELD_OUT;
use tunebook_data::creatures::CREATURES_TRAIN;
use tunebook_demo::Demo;
use tunebook_engine::Session;
use tunebook_engine::Settings;

use crate::error::Result;
use crate::lang::Localized;
use crate::lang::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub(super) static VERB: Verb = Verb {
    name: "demo",
    aliases: &[],
    usage: "demo",
    help: localized("load a tiny model and datasets that come with tunebook", "加载 tunebook 自带的微型模型和数据集"),
    details: localized(
        "The model is a Qwen2.5-VL with 3.5 million parameters that describes simple images. The dataset `creatures` \
         shows creatures whose names and types follow from their body parts. The model has never seen these names, and \
         some combinations are held out for `predict`. The dataset `shapes` has questions that the model can already \
         answer. `demo` sets values that suit both, and resets all other settings to their defaults, until another \
         model is loaded. Nothing is downloaded; the files are written to the user's cache folder. A model that is \
         already loaded is unloaded, with its data, adapters and conversation.",
        "模型是一个 350 万参数的 Qwen2.5-VL，会描述简单的图片。数据集 `creatures` 里是一些小精灵，名字和属性由身体各部\
         分决定；模型从没见过这些名字，有些组合留给 `predict` 检验。数据集 `shapes` 里是模型已经会回答的问题。`demo` \
         把设置改为适合两者的值，其余恢复默认值，直到加载另一个模型。不用下载任何东西，文件写在用户的缓存文件夹里。已\
         加载的模型会连同数据、适配器和对话一起卸载。",
    ),
    examples: &[("demo", localized("then ask, train and ask again, as it suggests", "然后按提示提问、训练、再提问"))],
    takes: Takes::Words(0, 0),
    options: &[],
    settings: &[],
    complete: |_| Complete::Nothing,
    run,
};

/// With what a LoRA adapter learns the creatures, and how the model answers.
const SETTINGS: [(&str, &str); 9] = [
    ("lora_rank", "16"),
    ("learning_rate", "4e-3"),
    ("per_device_train_batch_size", "8"),
    ("gradient_accumulation_steps", "1"),
    ("num_train_epochs", "6"),
    ("warmup_steps", "20"),
    ("logging_steps", "25"),
    ("max_new_tokens", "64"),
    ("do_sample", "false"),
];

/// What to do next.
const NEXT: Localized = localized(
    "\
now ask, teach, and ask again:
  chat image=images/creatures_held_out_0001.png Describe this creature.
  predict
  lora
  train
  plot
  chat clear
  chat image=images/creatures_held_out_0001.png Describe this creature.
  predict",
    "\
接下来提问，训练，再提问：
  chat image=images/creatures_held_out_0001.png 请介绍一下图中的小精灵。
  predict
  lora
  train
  plot
  chat clear
  chat image=images/creatures_held_out_0001.png 请介绍一下图中的小精灵。
  predict",
);

fn run(session: &mut Session, _: &Args, cx: &CommandContext) -> Result<Output> {
    let demo = Demo::install()?;
    // What an earlier demo brought.
    session.take_back_with_model();
    let mut settings = Settings::default();
    for (key, value) in SETTINGS {
        settings.set(key, value)?;
    }
    settings.dataset_dir = demo.data;
    settings.dataset = vec![CREATURES_TRAIN.to_string()];
    settings.eval_dataset = vec![CREATURES_HELD_OUT.to_string()];
    let train = settings.dataset.clone();
    session.set_with_model(settings);
    let loaded = session.load(&demo.model, &cx.context)?;
    (cx.show)(Output::Loaded(loaded));
    (cx.show)(Output::Data(Box::new(session.data(&train, &cx.context)?)));
    Ok(Output::Text(NEXT.in_lang(cx.lang()).to_string()))
}
