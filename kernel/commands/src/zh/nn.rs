//! Models and adapters.

use tunebook_nn::Error;
use tunebook_nn::adapter::AdapterError;

use super::Chinese;
use super::io;

impl Chinese for Error {
    fn zh(&self) -> String {
        match self {
            Self::Read { path, source } => format!("读不了 {}：{}", path.display(), io(source)),
            Self::Write { path, source } => format!("写不了 {}：{}", path.display(), io(source)),
            Self::Json { path, source } => format!("{} 不是有效的 JSON：{source}", path.display()),
            Self::Config { path, problem } => format!("{} 的内容不对：{problem}", path.display()),
            Self::Safetensors { path, problem } => {
                format!("{} 不是完整的 safetensors 文件（{problem}）；请重新下载", path.display())
            }
            Self::Damaged { path, problem } => {
                format!("{} 已损坏（{problem}）；请从更早的检查点继续，或重新复制这个文件", path.display())
            }
            Self::MissingTensor { place, name } => {
                format!("{} 没有张量 `{name}`；检查点不完整，或属于别的架构", place.display())
            }
            Self::Shape { path, name, expected, found } => {
                format!("{} 中的张量 `{name}` 形状是 {found:?}，config.json 却要求 {expected:?}", path.display())
            }
            Self::DType { path, name, dtype } => {
                format!("{} 中的张量 `{name}` 以 {dtype} 存储；只能读 float32 和 bfloat16", path.display())
            }
            Self::Adapter(error) => error.zh(),
            Self::Input(problem) => format!("输入不适合模型：{problem}"),
            Self::DeviceMemory => {
                "设备内存不足；请用 quantization_bit=4 加载模型，或把 per_device_train_batch_size、cutoff_len 或 \
                 image_max_pixels 调低后训练，或用 device=cpu 加载"
                    .to_string()
            }
            Self::Stopped => "已停止".to_string(),
            Self::Tensor(error) => format!("张量运算出错：{error}"),
        }
    }
}

impl Chinese for AdapterError {
    fn zh(&self) -> String {
        match self {
            Self::Value { key, value, expected } => format!("`{value}` 不能作为 {key} 的值：应为{}", kind(expected)),
            Self::UnknownTarget { target, names } => {
                format!("lora_target `{target}` 不是线性层的名称；可以是 `all`，或其中一些：{names}")
            }
            Self::FrozenTarget { target, names } => format!(
                "lora_target `{target}` 只指向冻结的层（freeze_vision_tower、freeze_multi_modal_projector、\
                 freeze_language_model）；可以是 `all`，或其中一些：{names}"
            ),
            Self::AllFrozen => "没有可训练的了：请把 freeze_vision_tower、freeze_multi_modal_projector 或 \
                                freeze_language_model 设为 false"
                .to_string(),
            Self::UnknownTrainable { key, module, names } => {
                format!("{key} `{module}` 不是模型的模块；可以是其中一些：{names}")
            }
            Self::Tied { name } => format!(
                "适配器单独训练了 `{name}`，但这个模型的嵌入和输出头是同一个张量，合并后的模型无法分开；请改为保存适配器"
            ),
            Self::Quantized { what } => {
                let what = if *what == "pissa_init" { what } else { "训练模型自身的权重" };
                format!("{what} 需要完整的权重，但模型是量化加载的；请不带 quantization_bit 加载")
            }
            Self::UnknownWeight { path, name } => {
                format!("{} 中的张量 `{name}` 不属于加载的模型；这个文件是为别的模型做的", path.display())
            }
            Self::WeightShape { path, name, expected, found } => format!(
                "{} 中的张量 `{name}` 形状是 {found:?}，但加载的模型是 {expected:?}；这个文件是为别的模型做的",
                path.display()
            ),
            Self::Other => "两个适配器训练的张量不同；请用 `adapter load` 加载另一个".to_string(),
            Self::NoWeights { path } => format!("{} 中没有张量", path.display()),
            Self::NoAdapter { path } => {
                format!("{} 中没有适配器：需要 adapter_config.json 和 adapter_model.safetensors", path.display())
            }
            Self::Pickle { path } => format!(
                "{} 中的适配器只有 adapter_model.bin，这里不读；请用 PEFT 加载，再以 safe_serialization=True 保存",
                path.display()
            ),
            Self::Unsupported { path, key, value } => {
                format!("{}：不支持 {key} = {value}；只能加载 LoRA、rsLoRA 和 DoRA 适配器", path.display())
            }
            Self::Key { path, key, value, expected } => {
                format!("{}：{key} 是 {value}，但应为{}", path.display(), kind(expected))
            }
            Self::Safetensors { path, problem } => {
                format!("{} 不是完整的 safetensors 文件（{problem}）；请重新复制或下载", path.display())
            }
            Self::Empty { path } => format!("{} 中没有 LoRA 张量", path.display()),
            Self::UnknownTensor { path, name } => format!(
                "不支持 {} 中的张量 `{name}`；只支持线性层的 lora_A.weight、lora_B.weight 和 lora_magnitude_vector，以及 \
                 adapter_config.json 中 modules_to_save 所列的模块",
                path.display()
            ),
            Self::Twice { path, name } => format!("{} 中的张量 `{name}` 以两个名称出现", path.display()),
            Self::UnknownModule { path, name, module } => format!(
                "{} 中的张量 `{name}` 属于 `{module}`，加载的模型没有这个线性层；适配器是为别的模型做的",
                path.display()
            ),
            Self::Shape { path, name, expected, found } => format!(
                "{} 中的张量 `{name}` 形状是 {found:?}，但 adapter_config.json 中的 r 和加载的模型要求 {expected:?}；\
                 适配器是为别的模型做的，或配置不属于它",
                path.display()
            ),
            Self::DType { path, name, dtype } => {
                format!("{} 中的张量 `{name}` 以 {dtype} 存储；只能读 float32、float16 和 bfloat16", path.display())
            }
            Self::MissingHalf { path, name } => {
                format!("{} 没有张量 `{name}`，却有同一层的其他张量；文件不完整", path.display())
            }
        }
    }
}

/// What a key should be.
fn kind(expected: &str) -> &str {
    match expected {
        "a whole number of at least 1" => "不小于 1 的整数",
        "a number above 0" => "大于 0 的数",
        "a number from 0 to below 1" => "从 0 到小于 1 的数",
        "false together with use_dora" => " false（与 use_dora 一起用时）",
        "true or false" => " true 或 false",
        other => other,
    }
}
