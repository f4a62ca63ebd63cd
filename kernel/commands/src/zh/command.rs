//! Lines that were not carried out.

use tunebook_quote::REMEDY_ZH;
use tunebook_serve::StartError;

use super::Chinese;
use super::io;
use super::nearest as mean;
use crate::error::Error;
use crate::rust::RustError;
use crate::shell::ShellError;

impl Chinese for Error {
    fn zh(&self) -> String {
        match self {
            Self::UnknownVerb { word, nearest } => {
                format!("没有命令 `{word}`{}{REMEDY_ZH}`help` 列出所有命令", mean(nearest))
            }
            Self::SettingAsVerb { key } => format!("`{key}` 是设置：`{key}=VALUE` 设置它，`show {key}` 显示它"),
            Self::UnknownOption { verb, key, nearest } => {
                format!("`{verb}` 不接受 `{key}`{}{REMEDY_ZH}`help {verb}` 显示它接受什么", mean(nearest))
            }
            Self::SettingOfAnother { verb, key, value } => {
                format!("`{verb}` 不接受 `{key}`{REMEDY_ZH}请用 `set {key}={value}` 设置")
            }
            Self::Spaced { key, value } => format!("请写 `{key}={value}`，`=` 两边不要有空格"),
            Self::Unquoted { key, value } => {
                format!("含空格的值要加引号{REMEDY_ZH}如果是这个意思，请写 {key}=\"{value}\"")
            }
            Self::NoValue { key } => format!("`{key}` 没有值{REMEDY_ZH}请写 `{key}=VALUE`"),
            Self::Twice { key } => format!("`{key}` 写了两次{REMEDY_ZH}请只写一次"),
            Self::OpenQuote { quote, rest } => format!("引号（{quote}）没有闭合：{rest}"),
            Self::Usage { problem, usage } => format!("{}{REMEDY_ZH}用法：{usage}", problem.zh),
            Self::OptionInText { key } => {
                format!("`{key}=` 应写在文字前面{REMEDY_ZH}如果它是文字的一部分，请给文字加上引号")
            }
            Self::NoPicture => format!("`image=` 后面没有文件{REMEDY_ZH}请写 image=FILE"),
            Self::RemotePicture { url } => {
                format!("图片要从文件读取{REMEDY_ZH}请先下载 {url}（例如用 `curl -LO`），再写出文件名")
            }
            Self::NothingTrained => format!("启用的适配器还没有训练过{REMEDY_ZH}`train 5` 训练五步"),
            Self::NothingEvaluated => {
                format!("启用的适配器在训练中没有评估过{REMEDY_ZH}请用 `data NAME val_size=0.1` 留出样本")
            }
            Self::NobodyToTalk => {
                format!("不写文字的 `chat` 会进入对话，需要有人在提示符前{REMEDY_ZH}请写 `chat TEXT`")
            }
            Self::Serve { source: StartError::OpenWithoutKey { host } } => {
                format!("其他机器能访问 {host}{REMEDY_ZH}因此需要密钥：api_key= 或环境变量 API_KEY")
            }
            Self::Serve { source: StartError::BadKey } => "密钥只能由可见的 ASCII 字符组成".to_string(),
            Self::Serve { source: StartError::Bind { address, source } } => {
                format!("无法监听 {address}：{}{REMEDY_ZH}`serve port=0` 会选一个空闲端口", io(source))
            }
            Self::Serve { source: StartError::Threads(source) } => format!("无法启动服务器的线程：{}", io(source)),
            Self::CannotWait => format!("`wait` 只能在命令行或单元格里等待{REMEDY_ZH}请把它单独写成一行"),
            Self::NothingHeldOutToSweepBy => {
                format!("没有留出的样本可供比较{REMEDY_ZH}`by=loss` 比较训练损失；`data NAME val_size=0.1` 留出样本")
            }
            Self::BackgroundInScript => {
                format!("脚本中每个 `train` 训练完才执行下一行{REMEDY_ZH}请去掉 `&`")
            }
            Self::OfJob(error) => error.zh(),
            Self::InScript { file, line, error } => format!("{file}:{line}：{}", error.zh()),
            Self::InBlock { line: _, error } => error.zh(),
            Self::NotUtf8 { file, line } => format!("{file}:{line} 不是 UTF-8 文本{REMEDY_ZH}请把它存为 UTF-8"),
            Self::Recursion { path } => {
                format!("{} 被它自己运行的脚本再次运行{REMEDY_ZH}请去掉其中一行 `run`", path.display())
            }
            Self::Panic(text) => format!("tunebook 内部出错（{text}），这是程序缺陷"),
            Self::Lost => format!("引擎已结束，这是程序缺陷{REMEDY_ZH}会话已丢失，请重新启动 tunebook"),
            Self::Rust(error) => error.zh(),
            Self::Shell(error) => error.zh(),
            Self::Demo(error) => error.zh(),
            Self::Engine(error) => error.zh(),
        }
    }
}

impl Chinese for ShellError {
    fn zh(&self) -> String {
        match self {
            Self::Start(problem) => format!("无法启动系统的 shell：{}", io(problem)),
            Self::Status(status) => format!("命令以状态 {status} 结束"),
            Self::Signal(signal) => format!("命令被信号 {signal} 终止"),
        }
    }
}

impl Chinese for RustError {
    fn zh(&self) -> String {
        match self {
            Self::NotBuilt => format!(
                "这个 tunebook 编译时没有包含 Rust 单元格{REMEDY_ZH}请用 `cargo install --path repl --features rust-cells` 安装包含它的版本"
            ),
            Self::NotHere => {
                format!("Rust 可以在提示符、管道和笔记本中运行，不能在 `run` 读取的文件中运行{REMEDY_ZH}请改用管道")
            }
            Self::Missing { missing } => {
                format!(
                    "Rust 单元格需要 {missing}，但找不到{REMEDY_ZH}请用 `rustup` 安装完整的 Rust。没有它，命令照常可用"
                )
            }
            Self::Start { problem } => format!("Rust 单元格无法启动：{problem}"),
            Self::Compile { message, report: _ } | Self::Refused { message } => {
                format!("{message}{REMEDY_ZH}这个单元格的代码都没有运行")
            }
            Self::Panicked { message } => format!("单元格发生 panic：{message}"),
            Self::Failed { message } => message.clone(),
            Self::Interrupted { .. } => "已停止".to_string(),
            Self::Killed => format!("已停止{REMEDY_ZH}单元格没有自行结束，因此终止了它的进程"),
            Self::Died { how } => format!("Rust 单元格的进程已结束（{how}）"),
        }
    }
}
