//! Datasets, samples and the tokenizer.

use tunebook_data::ChoiceError;
use tunebook_data::DatasetError;
use tunebook_data::EncodeError;
use tunebook_data::NoPictures;
use tunebook_data::Role;
use tunebook_data::SkipReason;
use tunebook_data::Skipped;
use tunebook_data::TemplateError;
use tunebook_data::TokenizerError;
use tunebook_data::ToolError;
use tunebook_data::Unsupported;
use tunebook_data::ValueType;
use tunebook_data::drawn::DrawnError;
use tunebook_demo::DemoError;
use tunebook_quote::REMEDY_ZH;

use super::Chinese;
use super::io;

impl Chinese for DatasetError {
    fn zh(&self) -> String {
        match self {
            Self::Read { path, source } => {
                format!("无法读取 {}：{}{REMEDY_ZH}请检查 dataset_dir 和 file_name", path.display(), io(source))
            }
            Self::Json { path, line, column, message } => {
                format!("{}:{line}:{column} 不是有效的 JSON：{message}", path.display())
            }
            Self::NotUtf8 { path, line, encoding } => {
                let hint = match encoding {
                    Some(name) => format!(
                        "，可能是 {name} 编码{REMEDY_ZH}请另存为 UTF-8，例如用 `iconv -f {name} -t UTF-8 旧文件 > 新文件` 转换"
                    ),
                    None => "，也可能根本不是文本".to_string(),
                };
                format!("{} 不是 UTF-8 文本（从第 {line} 行起）{hint}", path.display())
            }
            Self::BrokenText { path, encoding } => {
                format!("{} 的开头标明是 {encoding} 文本，后面的内容却不是{REMEDY_ZH}请另存为 UTF-8", path.display())
            }
            Self::InfoNotAnObject { path } => {
                format!("{} 应是一个 JSON 对象，把数据集名称对应到条目", path.display())
            }
            Self::Undefined { name, path, nearest, names } => {
                let hint = match nearest {
                    Some(other) => format!("是不是想写 `{other}`？"),
                    None => format!("其中有：{names}"),
                };
                format!("{} 中没有数据集 `{name}`{REMEDY_ZH}{hint}", path.display())
            }
            Self::Unsupported { name, what } => format!(
                "数据集 `{name}` 的{}，tunebook 不支持{REMEDY_ZH}它支持 `file_name`，`formatting` 为 alpaca、sharegpt 和 openai，列为 prompt、query、response、history、messages、system、tools 和 images",
                what.zh()
            ),
            Self::Remote { name, key, place } => format!(
                "数据集 `{name}` 存放在别处（{key} {place}）{REMEDY_ZH}请下载它的文件，把文件或文件夹写在 file_name 中，代替 {key}"
            ),
            Self::FileType { path } => format!("{} 不是 .json、.jsonl、.csv 或 .parquet 文件", path.display()),
            Self::Compressed { path, command } => {
                let path = path.display();
                format!("{path} 是压缩文件{REMEDY_ZH}请用 `{command} {path}` 解压，再使用解压出来的文件")
            }
            Self::NotRecords { path } => {
                format!("{} 应由记录组成：对象的 JSON 数组，或每行一个对象", path.display())
            }
            Self::EmptyFolder { path } => {
                format!("{} 中没有 .json、.jsonl、.csv 或 .parquet 文件", path.display())
            }
            Self::Csv { path, message } => format!("{} 不是有效的 CSV 文件：{message}", path.display()),
            Self::Parquet { path, message } => format!("{} 无法作为 Parquet 读取：{message}", path.display()),
            Self::NumSamples { name, num_samples, most } => {
                format!(
                    "数据集 `{name}` 的 `num_samples: {num_samples}` 太大：记录最多只能重复到 {most} 个样本{REMEDY_ZH}请调低"
                )
            }
            Self::Cancelled => "读取已停止".to_string(),
            Self::Picture { path, file, source } => {
                format!("无法写入 {}（{} 中的图片）：{}", path.display(), file.display(), io(source))
            }
        }
    }
}

impl Chinese for Unsupported {
    fn zh(&self) -> String {
        match self {
            Self::Entry => "条目不是 JSON 对象".to_string(),
            Self::NoObject(key) => format!("`{key}` 不是 JSON 对象"),
            Self::Key(key) => format!("条目有 `{key}`"),
            Self::Formatting(formatting) => format!("条目有 `formatting: {formatting}`"),
            Self::Split(split) => format!("条目有 `split: {split}`，而文件总是整个读取"),
            Self::NumSamples(value) => format!("条目有 `num_samples: {value}`，它不是整数"),
            Self::Column(key) => format!("条目有列 `{key}`"),
            Self::NoFile => "条目没有 `file_name`".to_string(),
            Self::Without { of, key } => format!("`{of}` 没有 `{key}`"),
        }
    }
}

impl Chinese for Skipped {
    fn zh(&self) -> String {
        format!("{}：{}", self.origin, self.reason.zh())
    }
}

impl Chinese for SkipReason {
    fn zh(&self) -> String {
        match self {
            Self::NotAnObject => "记录和其中的每条消息都应是 JSON 对象".to_string(),
            Self::MissingKey { key } => {
                format!("缺少键 `{key}`{REMEDY_ZH}请检查 dataset_info.json 中的 columns 和 tags")
            }
            Self::WrongType { key, expected } => format!("`{key}` 应为{}", expected.zh()),
            Self::NoMessages => "没有消息".to_string(),
            Self::UnknownRole { turn, role, known } => {
                format!("第 {turn} 条消息的角色 `{role}` 未知{REMEDY_ZH}dataset_info.json 的 tags 中有：{known}")
            }
            Self::SystemInside { turn } => {
                format!("第 {turn} 条消息是系统消息，而系统消息只能是记录的第一条")
            }
            Self::NoSystemTag { turn } => format!(
                "第 {turn} 条消息的角色是 `system`，而 dataset_info.json 的 tags 中没有它：请加上 \"system_tag\": \"system\""
            ),
            Self::WrongTurn { turn, role } => {
                let side = match role {
                    Role::User => "用户消息",
                    Role::Assistant => "助手消息",
                    Role::Observation => "工具返回的结果",
                    Role::Function => "工具调用",
                };
                format!("第 {turn} 条消息是{side}，而问和答应轮流出现，先问后答")
            }
            Self::OddMessageCount { count } => format!("有 {count} 条消息：最后一个问题没有回答"),
            Self::ImageCount { placeholders, images, why } => {
                let why = why.as_ref().map(|why| format!("：{}", why.zh())).unwrap_or_default();
                format!("文字中有 {placeholders} 个 <image>，记录中却有 {images} 张图片{why}")
            }
            Self::UnknownPart { kind } => format!("消息中有一部分的类型是 `{kind}`{REMEDY_ZH}只支持文字和图片"),
            Self::OtherMedia { placeholder } => format!("文字中有 {placeholder}，尚不支持"),
            Self::VisionTokenInText { token } => format!("文字中有 {token}，它是为图片保留的{REMEDY_ZH}请写 <image>"),
            Self::MissingPicture { picture, media_dir, beside } => {
                let beside =
                    beside.as_ref().map(|folder| format!("，也不在 {} 中", folder.display())).unwrap_or_default();
                format!("图片 {picture} 不在 {} 中{beside}，也不在路径本身所指的位置", media_dir.display())
            }
            Self::WindowsDrive { picture } => format!(
                "图片 {picture} 在 Windows 的盘符下，这个系统没有{REMEDY_ZH}请写相对于 media_dir 的路径，例如 images/a.png"
            ),
            Self::RemotePicture { url } => format!("图片 {url} 不是本机的文件{REMEDY_ZH}请先下载，再写文件的路径"),
            Self::BadBase64 { picture } => format!("图片 {picture} 不是有效的 base64"),
            Self::BadPicture(error) => error.zh(),
            Self::CutoffTooShort { needed, cutoff_len } => format!(
                "第一个问题连同图片需要 {needed} 个 token，cutoff_len {cutoff_len} 之内没有空间留给回答{REMEDY_ZH}请调大 cutoff_len 或调小 image_max_pixels"
            ),
            Self::LossNotFinite => "模型在这个样本上的损失不是有限数".to_string(),
            Self::BadTools { message } => format!("tools 不是由对象组成的 JSON 列表：{message}"),
            Self::BadFunctionCall { turn, message } => {
                format!("第 {turn} 条消息不是函数调用，即带 `name` 和 `arguments` 的 JSON：{message}")
            }
            Self::NothingToLearn { cutoff_len } => {
                format!("没有可计算损失的 token：cutoff_len {cutoff_len} 之内没有回答的 token")
            }
        }
    }
}

impl Chinese for NoPictures {
    fn zh(&self) -> String {
        match self {
            Self::NoColumn { other: Some(key) } => format!(
                "dataset_info.json 没有声明图片列{REMEDY_ZH}记录中有 `{key}`：请在 columns 中加上 \"images\": \"{key}\""
            ),
            Self::NoColumn { other: None } => "dataset_info.json 没有声明图片列，记录中也没有图片".to_string(),
            Self::NoKey { column, other: Some(key) } => format!(
                "记录中没有 dataset_info.json 声明的 `{column}`，却有 `{key}`：请在 columns 中写 \"images\": \"{key}\""
            ),
            Self::NoKey { column, other: None } => format!("记录中没有 dataset_info.json 声明的 `{column}`"),
            Self::Empty { column } => format!("`{column}` 是空的"),
        }
    }
}

impl Chinese for ValueType {
    fn zh(&self) -> String {
        match self {
            Self::Text => "文本",
            Self::TextOrParts => "文本，或由各部分组成的列表",
            Self::List => "列表",
            Self::TextPairs => "由成对的文本组成的列表",
            Self::Objects => "由对象组成的列表",
            Self::Paths => "由路径组成的列表",
            Self::PathOrPaths => "路径，或由路径组成的 JSON 列表",
        }
        .to_string()
    }
}

impl Chinese for ChoiceError {
    fn zh(&self) -> String {
        match self {
            Self::ProbabilitiesOfConcat => {
                "interleave_probs 需要 mix_strategy=interleave_under 或 interleave_over".to_string()
            }
            Self::ProbabilityCount { probabilities, sets } => {
                format!("interleave_probs 有 {probabilities} 个数，数据集却有 {sets} 个：应一一对应")
            }
            Self::ProbabilitySum { sum } => {
                format!("interleave_probs 不能为负，且总和应为 1{REMEDY_ZH}现在总和是 {sum}")
            }
            Self::NeverExhausted { index } => format!(
                "interleave_probs 中第 {index} 个（从 0 数起）概率为 0，而 mix_strategy=interleave_over 要等到该数据集取完"
            ),
            Self::TooRare { most } => {
                format!("interleave_probs 中有的数据集概率太小：取了 {most} 个样本还没取完{REMEDY_ZH}请调高")
            }
            Self::NothingLeft { val_size, samples } => {
                format!("从 {samples} 个样本中留出 val_size {val_size} 后，没有样本可训练{REMEDY_ZH}请调小")
            }
        }
    }
}

impl Chinese for EncodeError {
    fn zh(&self) -> String {
        match self {
            Self::Cancelled => "编码已停止".to_string(),
            Self::Tokenizer(error) => error.zh(),
        }
    }
}

impl Chinese for TemplateError {
    fn zh(&self) -> String {
        match self {
            Self::ImageCount { placeholders, images } => {
                format!("对话中有 {placeholders} 个 <image>，图片却有 {images} 张")
            }
            Self::VisionToken { token } => format!("文字中有 {token}，它是为图片保留的{REMEDY_ZH}请写 <image>"),
            Self::Order { index } => format!("用户和助手应轮流发言，用户在先{REMEDY_ZH}第 {index} 条消息不符合"),
            Self::FunctionCall { index, source } => {
                format!("第 {index} 条消息不是函数调用，即带 `name` 和 `arguments` 的 JSON：{}", source.zh())
            }
            Self::Tools { source } => format!("tools 不是由对象组成的 JSON 列表：{}", source.zh()),
            Self::Tokenizer(error) => error.zh(),
        }
    }
}

impl Chinese for ToolError {
    fn zh(&self) -> String {
        match self {
            Self::Json(error) => error.to_string(),
            Self::Missing(key) => format!("缺少 `{key}`"),
            Self::Type => "类型不对".to_string(),
        }
    }
}

impl Chinese for TokenizerError {
    fn zh(&self) -> String {
        match self {
            Self::Missing { path } => format!("缺少 {}：每个模型文件夹都需要这个分词器文件", path.display()),
            Self::Read { path, source } => format!("无法读取分词器 {}：{source}", path.display()),
            Self::MissingToken { path, token } => {
                format!("{} 没有 token `{token}`：这不是 Qwen-VL 模型的分词器", path.display())
            }
            Self::Encode(error) => format!("分词失败：{error}"),
            Self::Decode(error) => format!("token 解码失败：{error}"),
            Self::NotByteLevel { token } => {
                format!("token `{token}` 不是字节级的：这不是 Qwen-VL 模型的分词器")
            }
        }
    }
}

impl Chinese for DemoError {
    fn zh(&self) -> String {
        match self {
            Self::Write { path, source } => format!(
                "无法写入演示文件 {}：{}{REMEDY_ZH}它的位置取决于环境变量 XDG_CACHE_HOME 或 HOME",
                path.display(),
                io(source)
            ),
            Self::Data(error) => error.zh(),
        }
    }
}

impl Chinese for DrawnError {
    fn zh(&self) -> String {
        match self {
            Self::Write { path, source } => format!("无法写入 {}：{}", path.display(), io(source)),
            Self::Encode { path, source } => format!("无法编码图片 {}：{source}", path.display()),
        }
    }
}
