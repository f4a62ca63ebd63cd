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

pub(super) static VERB: Verb = Verb {
    name: "load",
    aliases: &[],
    usage: "load MODEL [dtype= device= quantization_bit= hub= model_revision= cache_dir= image_max_pixels= \
            image_min_pixels=]",
    help: localized("load a vision-language model from a folder or a hub", "从文件夹或模型社区加载视觉语言模型"),
    details: localized(
        "The models of Qwen2-VL, Qwen2.5-VL and Qwen3-VL can be loaded. A folder has the same files as a repository \
         on the hubs: config.json, tokenizer.json, *.safetensors and so on. If there is no folder OWNER/NAME, the \
         model is downloaded from Hugging Face, or from ModelScope with hub=modelscope or USE_MODELSCOPE_HUB=1, \
         unless it is already in the cache of the hub's own library; an interrupted download continues. HF_ENDPOINT, \
         HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, MODELSCOPE_ENDPOINT, MODELSCOPE_CACHE and MODELSCOPE_API_TOKEN are \
         supported. A model that is already loaded is unloaded, with its data, adapters and conversation.",
        "可以加载 Qwen2-VL、Qwen2.5-VL 和 Qwen3-VL 的模型。文件夹里的文件与模型社区的仓库相同：config.json、\
         tokenizer.json、*.safetensors 等。若没有名为 OWNER/NAME 的文件夹，就从 Hugging Face 下载，用 hub=modelscope \
         或 USE_MODELSCOPE_HUB=1 则从 ModelScope 下载；已在它们自己的库的缓存中的不再下载，中断的下载会继续。支持 \
         HF_ENDPOINT、HF_HOME、HF_TOKEN、HF_HUB_OFFLINE、MODELSCOPE_ENDPOINT、MODELSCOPE_CACHE 和 \
         MODELSCOPE_API_TOKEN。已加载的模型会连同数据、适配器和对话一起卸载。",
    ),
    examples: &[
        ("load models/Qwen2.5-VL-3B-Instruct", localized("computes in the dtype of the weights", "按权重的精度计算")),
        ("load models/Qwen2.5-VL-3B-Instruct dtype=float32", localized("slower but more accurate", "更慢，但更精确")),
        (
            "load models/Qwen2.5-VL-3B-Instruct quantization_bit=4",
            localized("QLoRA: a third of the memory", "QLoRA：内存只需三分之一"),
        ),
        ("load Qwen/Qwen3-VL-4B-Instruct", localized("from Hugging Face", "从 Hugging Face")),
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
