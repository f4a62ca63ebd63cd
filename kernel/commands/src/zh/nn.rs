//! Models and adapters.

use tunebook_nn::Error;
use tunebook_nn::adapter::AdapterError;
use tunebook_nn::adapter::Expected;
use tunebook_nn::adapter::NeedsFullWeights;
use tunebook_nn::adapter::Unblendable;
use tunebook_nn::error::Damage;
use tunebook_nn::error::few;
use tunebook_nn::gguf::LlamaCppError;
use tunebook_nn::models::ConfigError;
use tunebook_quote::REMEDY_ZH;
use tunebook_quote::message;

use super::Chinese;
use super::io;

impl Chinese for Error {
    fn zh(&self) -> String {
        match self {
            Self::Read { path, source } => format!("无法读取 {}：{}", path.display(), io(source)),
            Self::Write { path, source } => format!("无法写入 {}：{}", path.display(), io(source)),
            Self::Json { path, source } => {
                format!("{} 不是有效的 JSON：{}", path.display(), message(&source.to_string()))
            }
            Self::Config { path, problem } => format!("{}：{}", path.display(), problem.zh()),
            Self::Safetensors { path, problem } => {
                format!("{} 不是完整的 safetensors 文件（{problem}）{REMEDY_ZH}请重新下载", path.display())
            }
            Self::MissingShards { place, files } => {
                format!("{} 需要的文件缺失：{}{REMEDY_ZH}请把它们也下载或复制过来", place.display(), files.join("、"))
            }
            Self::NoWeights { place } => format!(
                "{} 中没有权重：既没有 model.safetensors，也没有 model.safetensors.index.json 及其文件",
                place.display()
            ),
            Self::PickledWeights { place, file } => {
                let place = place.display();
                format!(
                    "{place} 的权重存为 {file}，读取这种格式可能会执行其中的代码{REMEDY_ZH}请用 transformers 另存为 safetensors：python -c \"from transformers import AutoModelForImageTextToText as M; d = '{place}'; M.from_pretrained(d, dtype='auto').save_pretrained(d)\""
                )
            }
            Self::Gguf { path } => format!(
                "{} 是为推理量化的（GGUF），不能训练{REMEDY_ZH}请加载量化前的原模型，并设 quantization_bit=4",
                path.display()
            ),
            Self::Damaged { path, problem } => {
                let problem = problem.zh();
                format!("{} 已损坏（{problem}）{REMEDY_ZH}请从更早的检查点继续，或重新复制这个文件", path.display())
            }
            Self::WeightsChanged { path } => format!(
                "加载模型之后，{} 被修改或截断，权重已与原来不同{REMEDY_ZH}请在文件完整后重新 `load` 模型",
                path.display()
            ),
            Self::MissingTensors { place, count, names, others } => {
                let others = match others.is_empty() {
                    true => String::new(),
                    false => format!("（另有模型没有的张量：{}）", few(others)),
                };
                format!(
                    "{} 缺少模型的 {count} 个张量：{}{others}{REMEDY_ZH}检查点不完整，或属于别的架构",
                    place.display(),
                    few(names)
                )
            }
            Self::Shape { path, name, expected, found } => {
                format!("{} 中的张量 `{name}` 形状是 {found:?}，而 config.json 要求 {expected:?}", path.display())
            }
            Self::DType { path, name, dtype } => {
                format!(
                    "{} 中的张量 `{name}` 以 {dtype} 存储{REMEDY_ZH}只能读 float32、float16 和 bfloat16：请用 transformers 以其中一种重新保存模型",
                    path.display()
                )
            }
            Self::NotFinite { place, name } => format!(
                "{} 中模型的 `{name}` 含有 NaN 或无穷大：文件已损坏，或写出它的训练已经失败{REMEDY_ZH}请换一份模型",
                place.display()
            ),
            Self::Adapter(error) => error.zh(),
            Self::LlamaCpp(error) => error.zh(),
            Self::Input(problem) => format!("输入与模型不符：{problem}"),
            Self::DeviceMemory => {
                format!(
                    "设备内存不足{REMEDY_ZH}请用 quantization_bit=4 加载模型，或调低 per_device_train_batch_size、cutoff_len 或 image_max_pixels 后训练，或用 device=cpu 加载"
                )
            }
            Self::Cancelled => "已停止".to_string(),
            Self::Tensor(error) => format!("张量运算出错：{error}"),
        }
    }
}

impl Chinese for ConfigError {
    fn zh(&self) -> String {
        match self {
            Self::Architecture { found, expected } => {
                let found = found.as_ref().map_or("没有写明架构".to_string(), |found| format!("写的是 {found}"));
                format!("{found}，而 tunebook 训练的是 {expected}{REMEDY_ZH}请选择这种模型的文件夹")
            }
            Self::Quantized { method, bits } => {
                let bits = bits.map(|bits| format!("，{bits} 比特")).unwrap_or_default();
                format!(
                    "权重是量化后存储的（{method}{bits}），无法在此基础上训练{REMEDY_ZH}请加载量化前的原模型，并设 \
                     quantization_bit=4 或 quantization_bit=8"
                )
            }
            Self::Value { key, value } => format!("{key} 是 {value}，类型不对"),
            Self::TokenId { key, value } => format!("{key} 是 {value}，不是 token id"),
            Self::Activation { key, found, supported } => format!("{key} 是 {found}{REMEDY_ZH}只支持 {supported}"),
            Self::SlidingWindow => "use_sliding_window 为 true，但不支持滑动窗口注意力".to_string(),
            Self::RopeType { found } => format!(
                "不支持 rope 类型 `{found}`，只支持 mrope{REMEDY_ZH}改成 `mrope` 后，可以处理不超过模型训练时长度的文本"
            ),
            Self::Heads { hidden_size, heads } => format!("hidden_size {hidden_size} 不能被注意力头数 {heads} 整除"),
            Self::KeyValueHeads { heads, kv_heads } => format!("{heads} 个注意力头不能共用 {kv_heads} 个键值头"),
            Self::MropeSection { section, head_dim } => {
                format!("mrope_section {section:?} 之和不是头维度 {head_dim} 的一半")
            }
            Self::VisionHeads { hidden_size, heads } => {
                format!("视觉部分的 hidden_size {hidden_size} 不能被头数 {heads} 整除")
            }
            Self::PatchSizes => "视觉部分的 patch_size、spatial_merge_size 和 window_size 必须为正数".to_string(),
            Self::PositionEmbeddings { found } => format!("num_position_embeddings 是 {found}，不是整数的平方"),
            Self::DeepStack { indexes, depth } => format!(
                "deepstack_visual_indexes 是 {indexes}，但视觉塔只有 {depth} 层，且语言模型的层数必须多于索引的个数"
            ),
            Self::Widths { out_hidden_size, hidden_size } => {
                format!("视觉部分的 out_hidden_size {out_hidden_size} 与文本部分的 hidden_size {hidden_size} 不同")
            }
        }
    }
}

impl Chinese for LlamaCppError {
    fn zh(&self) -> String {
        match self {
            Self::Vision { key, needed, found } => {
                format!("llama.cpp 只能运行 {key}={needed} 的这类视觉编码器，而 config.json 中是 {found}")
            }
            Self::AttentionBias => {
                "llama.cpp 只能运行没有偏置的这类语言模型，而 config.json 中 attention_bias=true".to_string()
            }
            Self::NoLora => {
                format!("这个适配器不是 LoRA，而是模型部分张量的副本{REMEDY_ZH}请导出整个模型，不加 adapter_only")
            }
            Self::Copy { name } => format!(
                "适配器含有 `{name}` 训练后的副本，GGUF 的 LoRA 放不下它{REMEDY_ZH}请导出合并后的模型，不加 adapter_only"
            ),
            Self::Dora => format!("llama.cpp 不支持 DoRA{REMEDY_ZH}请导出合并后的模型，不加 adapter_only"),
            Self::Pictures { count, first } => format!(
                "适配器有 {count} 层属于视觉编码器或投影器（如 `{first}`），llama.cpp 不能对它们应用 LoRA{REMEDY_ZH}请导出合并后的模型，不加 adapter_only"
            ),
        }
    }
}

impl Chinese for AdapterError {
    fn zh(&self) -> String {
        match self {
            Self::Value { key, value, expected } => format!("`{value}` 不能作为 {key} 的值：应为{}", expected.zh()),
            Self::UnknownTarget { target, names } => {
                format!("lora_target `{target}` 不匹配任何线性层{REMEDY_ZH}可以是 `all`，或其中一些：{names}")
            }
            Self::FrozenTarget { target, names } => format!(
                "lora_target `{target}` 只匹配冻结的层（freeze_vision_tower、freeze_multi_modal_projector、freeze_language_model）{REMEDY_ZH}可以是 `all`，或其中一些：{names}"
            ),
            Self::AllFrozen => "没有可训练的参数：请把 freeze_vision_tower、freeze_multi_modal_projector 或 freeze_language_model 设为 false"
                .to_string(),
            Self::UnknownTrainable { key, module, names } => {
                format!("{key} `{module}` 不是模型的模块{REMEDY_ZH}可以是其中一些：{names}")
            }
            Self::Quantized { what } => {
                format!("{} 需要完整的权重，但模型是量化加载的{REMEDY_ZH}请不带 quantization_bit 加载", what.zh())
            }
            Self::UnknownWeight { path, name } => {
                format!("{} 中的张量 `{name}` 不属于加载的模型{REMEDY_ZH}这个文件是为别的模型制作的", path.display())
            }
            Self::WeightShape { path, name, expected, found } => format!(
                "{} 中的张量 `{name}` 形状是 {found:?}，但加载的模型是 {expected:?}{REMEDY_ZH}这个文件是为别的模型制作的",
                path.display()
            ),
            Self::Other => format!("两个适配器训练的张量不同{REMEDY_ZH}请用 `adapter load` 加载另一个"),
            Self::CannotBlend { name, what } => {
                format!("适配器 `{name}` 无法合并：{}{REMEDY_ZH}请合并 LoRA、rsLoRA 或 PiSSA 适配器", what.zh())
            }
            Self::BlendRanks { module, ranks: [first, second] } => format!(
                "各适配器在 `{module}` 的秩是 {first} 和 {second}，而这种 combination_type 要求因子的秩相同{REMEDY_ZH}\
                 combination_type=cat 或 svd 不限秩"
            ),
            Self::NoWeights { path } => format!("{} 中没有张量", path.display()),
            Self::NoAdapter { path } => {
                format!("{} 中没有适配器：需要 adapter_config.json 和 adapter_model.safetensors", path.display())
            }
            Self::WholeModel { path } => {
                let path = path.display();
                format!("{path} 中是完整的模型，不是适配器{REMEDY_ZH}请用 `load {path}` 加载")
            }
            Self::Pickle { path } => format!(
                "{} 中的适配器只有 adapter_model.bin，不支持这种格式{REMEDY_ZH}请用 PEFT 加载，再以 safe_serialization=True 保存",
                path.display()
            ),
            Self::Unsupported { path, key, value } => {
                format!("{}：不支持 {key} = {value}{REMEDY_ZH}只能加载 LoRA、rsLoRA 和 DoRA 适配器", path.display())
            }
            Self::Key { path, key, value, expected } => {
                format!("{}：{key} 是 {value}，但应为{}", path.display(), expected.zh())
            }
            Self::Pattern { path, key, pattern, problem } => {
                format!("{}：{key} 中的 `{pattern}` 不是正则表达式：{problem}", path.display())
            }
            Self::Safetensors { path, problem } => {
                format!("{} 不是完整的 safetensors 文件（{problem}）{REMEDY_ZH}请重新复制或下载", path.display())
            }
            Self::Empty { path } => format!("{} 中没有 LoRA 张量", path.display()),
            Self::UnknownTensor { path, name } => format!(
                "不支持 {} 中的张量 `{name}`{REMEDY_ZH}只支持线性层的 lora_A.weight、lora_B.weight 和 lora_magnitude_vector，以及 \
                 adapter_config.json 中 modules_to_save 所列的模块",
                path.display()
            ),
            Self::Twice { path, name } => format!("{} 中的张量 `{name}` 以两个名称出现", path.display()),
            Self::UnknownModule { path, name, module } => format!(
                "{} 中的张量 `{name}` 属于 `{module}`，但加载的模型没有这个线性层{REMEDY_ZH}适配器是为别的模型训练的",
                path.display()
            ),
            Self::Shape { path, name, expected, found } => format!(
                "{} 中的张量 `{name}` 形状是 {found:?}，但 adapter_config.json 中的 r 和加载的模型要求 {expected:?}{REMEDY_ZH}适配器是为别的模型训练的，或配置与它不符",
                path.display()
            ),
            Self::DType { path, name, dtype } => {
                format!(
                    "{} 中的张量 `{name}` 以 {dtype} 存储{REMEDY_ZH}只能读 float32、float16 和 bfloat16",
                    path.display()
                )
            }
            Self::MissingHalf { path, name } => {
                format!("{} 没有张量 `{name}`，却有同一层的其他张量{REMEDY_ZH}文件不完整", path.display())
            }
        }
    }
}

impl Chinese for Damage {
    fn zh(&self) -> String {
        match self {
            Self::Safetensors(problem) => problem.clone(),
            Self::DType { name, dtype } => format!("张量 `{name}` 以 {dtype} 存储，而不是 F32"),
        }
    }
}

/// As it stands behind 应为.
impl Chinese for Expected {
    fn zh(&self) -> String {
        match self {
            Self::PositiveInteger | Self::PositiveIntegers => "不小于 1 的整数",
            Self::PositiveNumber | Self::PositiveNumbers => "大于 0 的数",
            Self::Probability => "不小于 0 且小于 1 的数",
            Self::FalseWithDora => " false（与 use_dora 一起用时）",
            Self::Bool => " true 或 false",
        }
        .to_string()
    }
}

impl Chinese for Unblendable {
    fn zh(&self) -> String {
        match self {
            Self::OwnWeights => "它是模型自身的权重，没有 LoRA 因子",
            Self::ModulesToSave => "除 LoRA 因子外，它还有整个模块的训练副本（additional_target），副本不能加权求和",
            Self::Dora => "它是 DoRA，幅度向量不能加权求和",
        }
        .to_string()
    }
}

impl Chinese for NeedsFullWeights {
    fn zh(&self) -> String {
        match self {
            Self::Pissa => "pissa_init",
            Self::OwnWeights => "训练模型自身的权重",
        }
        .to_string()
    }
}
