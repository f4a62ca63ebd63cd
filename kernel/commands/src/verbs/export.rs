//! `export`: the model with an adapter merged into it.

use tunebook_engine::FileType;
use tunebook_engine::GgufOptions;
use tunebook_engine::Session;
use tunebook_engine::settings::Group;
use tunebook_quote::quote;

use super::evaluate::ADAPTER;
use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

pub(super) static VERB: Verb = Verb {
    name: "export",
    aliases: &[],
    usage: "export FOLDER [adapter= export_size=] [format=gguf type= adapter_only= check= llama_server=]",
    help: localized("write the model with the adapter merged into it", "写出合并了适配器的模型"),
    details: localized(
        "The folder can be read by transformers and by `load`; it includes tokenizer and processor. It must be empty \
         or not exist yet. Weights are stored in the dtype of the model's files, even if it was loaded with \
         quantization_bit. With format=gguf, the files are for llama.cpp and Ollama: the language model with tokenizer \
         and chat template, the vision tower (mmproj), and a Modelfile; adapter_only=true writes the LoRA by itself, \
         adapter=base the model without one. check=N asks llama.cpp N samples of the data and compares the answers.",
        "写成 transformers 和 `load` 都能读的文件夹，包括分词器和处理器；文件夹必须是空的或还不存在。权重按模型文件的\
         精度存储，即使加载时用了 quantization_bit。format=gguf 写出供 llama.cpp 和 Ollama 使用的文件：带分词器和对话\
         模板的语言模型、视觉编码器（mmproj）和 Modelfile；adapter_only=true 只写 LoRA 本身，adapter=base 写不带适配器\
         的模型。check=N 用数据中的 N 个样本提问 llama.cpp，并比较回答。",
    ),
    examples: &[
        ("export models/creatures", localized("merges the active adapter", "合并启用的适配器")),
        (
            "export models/old adapter=saves/creatures export_size=2",
            localized("merges another one, in files of at most 2 GB", "合并另一个，每个文件最大 2 GB"),
        ),
        (
            "export models/small format=gguf type=q4_k",
            localized("for llama.cpp and Ollama, in 4 bits", "供 llama.cpp 和 Ollama 使用，4 位"),
        ),
        (
            "export models/lora format=gguf adapter_only=true",
            localized("the adapter by itself, for llama.cpp's --lora", "只有适配器，供 llama.cpp 的 --lora 使用"),
        ),
        (
            "export models/checked format=gguf check=20",
            localized("asks llama.cpp 20 samples afterwards", "写完后用 20 个样本提问 llama.cpp"),
        ),
    ],
    takes: Takes::Words(1, 1),
    options: &[ADAPTER, FORMAT, TYPE, ADAPTER_ONLY, CHECK, LLAMA_SERVER],
    settings: &[Group::Export],
    complete: |_| Complete::Folders,
    run,
};

const FORMAT: VerbOption = VerbOption {
    name: "format",
    help: localized(
        "The format: safetensors (by default) for transformers, or gguf for llama.cpp and Ollama.",
        "格式：safetensors（默认）供 transformers 使用，gguf 供 llama.cpp 和 Ollama 使用。",
    ),
    repeats: false,
    complete: Complete::Words(&["safetensors", "gguf"]),
};

const TYPE: VerbOption = VerbOption {
    name: "type",
    help: localized(
        "The type of the weights in GGUF, by llama.cpp's names; by default 16 bits as in the model's files, for an adapter f32.",
        "GGUF 中权重的类型，用 llama.cpp 的名称；默认是模型文件的 16 位类型，适配器为 f32。",
    ),
    repeats: false,
    complete: Complete::Words(&["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k"]),
};

const ADAPTER_ONLY: VerbOption = VerbOption {
    name: "adapter_only",
    help: localized(
        "Whether to write only the LoRA adapter, for a model in GGUF without it.",
        "是否只写 LoRA 适配器，用于不带它的 GGUF 模型。",
    ),
    repeats: false,
    complete: Complete::Words(&["true", "false"]),
};

const CHECK: VerbOption = VerbOption {
    name: "check",
    help: localized(
        "How many samples of the data to ask llama.cpp afterwards, to compare its answers with those of this session.",
        "写完后用数据中的多少个样本提问 llama.cpp，并与本会话的回答比较。",
    ),
    repeats: false,
    complete: Complete::Nothing,
};

const LLAMA_SERVER: VerbOption = VerbOption {
    name: "llama_server",
    help: localized(
        "The llama-server to ask; by default the one on PATH.",
        "要提问的 llama-server 程序；默认用 PATH 中的那个。",
    ),
    repeats: false,
    complete: Complete::Files,
};

fn run(session: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    let (folder, adapter) = (parse::path(&args.words[0]), args.options(ADAPTER.name).next());
    let report = match gguf(args)? {
        Some(options) => session.export_gguf(&folder, adapter, &options, &cx.context)?,
        None => session.export(&folder, adapter, &cx.context)?,
    };
    Ok(Output::Exported(report))
}

/// How to write GGUF, if that is asked for.
///
/// # Errors
/// A value that there is not, or one of another format.
fn gguf(args: &Args) -> Result<Option<GgufOptions>> {
    match args.options(FORMAT.name).next().unwrap_or("safetensors") {
        "gguf" => {}
        "safetensors" => {
            let of_gguf = [TYPE, ADAPTER_ONLY, CHECK, LLAMA_SERVER];
            return match of_gguf.iter().find(|option| args.options(option.name).next().is_some()) {
                Some(VerbOption { name, .. }) => {
                    Err(VERB.usage_error(localized!("{name} needs format=gguf", "{name} 只能与 format=gguf 一起用")))
                }
                None => Ok(None),
            };
        }
        other => {
            let other = quote(other);
            return Err(VERB.usage_error(localized!(
                "there is no format `{other}`: it is safetensors or gguf",
                "没有 `{other}` 这种格式：应为 safetensors 或 gguf"
            )));
        }
    }
    let options = GgufOptions {
        file_type: args.options(TYPE.name).next().map(file_type).transpose()?,
        adapter_only: args.switch(ADAPTER_ONLY.name, &VERB)?.unwrap_or(false),
        check: args.number(CHECK.name, &VERB)?,
        llama_server: args.options(LLAMA_SERVER.name).next().map(parse::path),
    };
    match options.file_type {
        Some(kind) if options.adapter_only && kind.is_four_bit() => Err(VERB.usage_error(localized!(
            "an adapter is written as f32, f16, bf16 or q8_0",
            "适配器的类型应为 f32、f16、bf16 或 q8_0"
        ))),
        _ => Ok(Some(options)),
    }
}

fn file_type(name: &str) -> Result<FileType> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "f32" => FileType::F32,
        "f16" => FileType::F16,
        "bf16" => FileType::Bf16,
        "q8_0" => FileType::Q8_0,
        "q4_0" => FileType::Q4_0,
        "q4_k" | "q4_k_m" => FileType::Q4KM,
        _ => {
            let name = quote(name);
            return Err(VERB.usage_error(localized!(
                "there is no type `{name}`: it is f32, f16, bf16, q8_0, q4_0 or q4_k",
                "没有 `{name}` 这种类型：应为 f32、f16、bf16、q8_0、q4_0 或 q4_k"
            )));
        }
    })
}
