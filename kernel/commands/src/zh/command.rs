//! Lines that were not carried out.

use super::Chinese;
use super::nearest as mean;
use crate::error::Error;
use crate::lang::Lang;
use crate::lang::Say;

impl Chinese for Error {
    fn zh(&self) -> String {
        match self {
            Self::UnknownVerb { word, nearest } => format!("没有命令 `{word}`{}；`help` 列出所有命令", mean(nearest)),
            Self::UnknownOption { verb, key, nearest } => {
                format!("`{verb}` 不接受 `{key}`{}；`help {verb}` 显示它接受什么", mean(nearest))
            }
            Self::SettingOfAnother { verb, key, value } => {
                format!("`{verb}` 没有 `{key}`；请用 `set {key}={value}` 设置")
            }
            Self::NoValue { key } => format!("`{key}` 没有值；请写 `{key}=VALUE`"),
            Self::Twice { key } => format!("`{key}` 写了两次；只写一次"),
            Self::OpenQuote { quote, rest } => format!("引号（{quote}）没有关闭：{rest}"),
            Self::Usage { problem, usage } => format!("{}；用法：{usage}", problem.say(Lang::Zh)),
            Self::OptionInText { key } => format!("`{key}=` 应写在文字前面；如果它本来就是文字，请给文字加上引号"),
            Self::NothingTrained => "启用的适配器还没有训练过；`train 5` 训练五步".to_string(),
            Self::NothingEvaluated => {
                "启用的适配器在训练中没有做过评估；请用 `data NAME val_size=0.1` 留出样本".to_string()
            }
            Self::NobodyToTalk => "单独的 `chat` 会进入对话，需要有人在提示符前；请写 `chat TEXT`".to_string(),
            Self::InScript { file, line, error } => format!("{file}:{line}：{}", error.zh()),
            Self::Recursion { path } => {
                format!("{} 被它自己运行的脚本运行；请去掉其中一行 `run`", path.display())
            }
            Self::Panic(text) => format!("tunebook 内部出错（{text}），这是程序缺陷；会话还在，请尽快保存并重新启动"),
            Self::Demo(error) => error.zh(),
            Self::Engine(error) => error.zh(),
        }
    }
}
