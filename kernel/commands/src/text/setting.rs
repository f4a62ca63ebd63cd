//! What a setting can be set to.

use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::Group;
use tunebook_engine::settings::Kind;
use tunebook_engine::settings::Limits;
use tunebook_engine::settings::shown;

use crate::lang::Lang;
use crate::lang::localized;

/// The values that a setting takes.
pub(crate) fn expected(setting: &Declaration, lang: Lang) -> String {
    if lang == Lang::En {
        return setting.expected();
    }
    let kind = match setting.kind {
        Kind::Choices(words) => format!("{} 中的一个或多个，用逗号分隔", words.join("、")),
        _ if !setting.choices().is_empty() => setting.choices().join("、"),
        Kind::Integer => "整数".to_string(),
        Kind::Number => "数".to_string(),
        Kind::List => "用逗号分隔的名称".to_string(),
        Kind::Numbers => "用逗号分隔的数".to_string(),
        Kind::Path => "路径".to_string(),
        Kind::Mapping => "用逗号分隔的 名称:值".to_string(),
        Kind::Text | Kind::Bool | Kind::Choice(_) => "文字".to_string(),
    };
    let limit = |limits: &Limits| match limits {
        Limits::Min(least) => format!("，不小于 {}", shown(*least)),
        Limits::Range(least, most) => format!("，从 {} 到 {}", shown(*least), shown(*most)),
        Limits::Below(least, end) => format!("，从 {} 到小于 {}", shown(*least), shown(*end)),
    };
    let limits: String = setting.limits().iter().map(limit).collect();
    format!("{kind}{limits}{}", if setting.is_optional() { "，或 none" } else { "" })
}

/// What a group of settings is called.
pub fn group(group: Group, lang: Lang) -> &'static str {
    let title = match group {
        Group::Model => localized("Model", "模型"),
        Group::Pictures => localized("Images", "图像"),
        Group::Data => localized("Data", "数据"),
        Group::Prompt => localized("Prompt", "提示词"),
        Group::Lora => localized("LoRA", "LoRA"),
        Group::Freeze => localized("Freeze tuning", "部分参数微调"),
        Group::Method => localized("Method", "微调方法"),
        Group::Training => localized("Training", "训练"),
        Group::Evaluation => localized("Evaluation", "评估"),
        Group::Generation => localized("Generation", "生成"),
        Group::Output => localized("Output", "输出"),
        Group::Export => localized("Export", "导出"),
    };
    title.in_lang(lang)
}
