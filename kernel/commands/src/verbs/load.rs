//! `load`: a model from a folder or a hub.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;
use tunebook_engine::tell_taken_back;

use crate::error::Result;
use crate::lang::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "load",
    aliases: &[],
    usage: "load MODEL [dtype= device= quantization_bit= hub= model_revision= cache_dir= image_max_pixels= \
            image_min_pixels=]",
    help: localized("load a vision-language model from a folder or a hub", "从文件夹或模型站加载视觉语言模型"),
    details: localized(
        "A folder is laid out as on the hubs: config.json, tokenizer.json, *.safetensors and so on. OWNER/NAME, \
         where there is no such folder, is downloaded from Hugging Face, or ModelScope with hub=modelscope or \
         USE_MODELSCOPE_HUB=1, unless it is in the cache that their own libraries use; a download that was stopped \
         goes on. HF_ENDPOINT, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, MODELSCOPE_ENDPOINT, MODELSCOPE_CACHE and \
         MODELSCOPE_API_TOKEN are honoured. A model that is loaded already is dropped, with its data, adapters and \
         conversation.",
        "文件夹的布局与模型站上的相同：config.json、tokenizer.json、*.safetensors 等。若没有名为 OWNER/NAME 的文件\
         夹，就从 Hugging Face 下载，用 hub=modelscope 或 USE_MODELSCOPE_HUB=1 则从 ModelScope 下载；它们自己的库缓\
         存过的不再下载，中断的下载会继续。支持 HF_ENDPOINT、HF_HOME、HF_TOKEN、HF_HUB_OFFLINE、\
         MODELSCOPE_ENDPOINT、MODELSCOPE_CACHE 和 MODELSCOPE_API_TOKEN。已加载的模型会连同数据、适配器和对话一起丢\
         弃。",
    ),
    examples: &[
        ("load models/Qwen2.5-VL-3B-Instruct", localized("computes as the weights are stored", "按权重存储的精度计算")),
        ("load models/Qwen2.5-VL-3B-Instruct dtype=float32", localized("slower and more exact", "更慢、更精确")),
        (
            "load models/Qwen2.5-VL-3B-Instruct quantization_bit=4",
            localized("a third of the memory, as QLoRA", "即 QLoRA，内存只要三分之一"),
        ),
        ("load Qwen/Qwen2.5-VL-3B-Instruct", localized("from Hugging Face", "从 Hugging Face")),
        ("load Qwen/Qwen2.5-VL-3B-Instruct hub=modelscope", localized("from ModelScope", "从 ModelScope")),
    ],
    takes: Takes::Words(1, 1),
    options: &[],
    settings: &[Group::Model, Group::Pictures],
    complete: |_| Complete::Models,
    run,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let taken = session.take_back_with_model();
    let loaded = session.load(&parse::path(&args.words[0]), &cx.context)?;
    tell_taken_back(taken, &cx.context);
    Ok(Output::Loaded(loaded))
}
