//! `load`: a model out of a folder.

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
    name: "load",
    aliases: &[],
    usage: "load MODEL [dtype= quantization_bit= hub= model_revision= cache_dir= image_max_pixels= image_min_pixels=]",
    help: "load a Qwen2.5-VL model out of a folder or from a hub",
    details: "A folder is laid out as on the hubs: config.json, tokenizer.json, *.safetensors and so on. OWNER/NAME, \
              where there is no such folder, is downloaded from Hugging Face, or ModelScope with hub=modelscope or \
              USE_MODELSCOPE_HUB=1, unless it is in the cache that their own libraries use; a download that was \
              stopped goes on. HF_ENDPOINT, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, MODELSCOPE_ENDPOINT, MODELSCOPE_CACHE \
              and MODELSCOPE_API_TOKEN are honoured. A model that is loaded already is dropped, with its data, \
              adapters and conversation.",
    examples: &[
        ("load models/Qwen2.5-VL-3B-Instruct", "computes as the weights are stored"),
        ("load models/Qwen2.5-VL-3B-Instruct dtype=float32", "slower and more exact"),
        ("load models/Qwen2.5-VL-3B-Instruct quantization_bit=4", "a third of the memory, as QLoRA"),
        ("load Qwen/Qwen2.5-VL-3B-Instruct", "from Hugging Face"),
        ("load Qwen/Qwen2.5-VL-3B-Instruct hub=modelscope", "from ModelScope"),
    ],
    takes: Takes::Words(1, 1),
    options: &[],
    settings: &[Group::Model, Group::Pictures],
    complete: |_| Complete::Models,
    run,
};

fn run(session: &mut Session, args: &Args, stage: &Stage) -> Result<Output> {
    Ok(Output::Loaded(session.load(&parse::path(&args.words[0]), &stage.context)?))
}
