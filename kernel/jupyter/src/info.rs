//! The kernel's description of itself.

use serde_json::Value;
use serde_json::json;
use tunebook_commands::lang::Lang;
use tunebook_commands::lang::Localized;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;

use crate::wire::PROTOCOL_VERSION;

/// What the commands look like: VS Code and Zed choose an editor's mode by it, and ask where they do not know a language.
/// papermill writes parameters as this language has them, which is `key=value`.
pub(crate) const LANGUAGE: &str = "bash";
/// What JupyterLab goes by: the mode that its extension in `lab` brings, and plain text without it. A shell's colours take
/// what stands behind an apostrophe for a string, and Rust for faulty.
const MODE: &str = "tunebook";
/// That of Pygments, for nbconvert and consoles, for the same reason.
const LEXER: &str = "text";
const SETTINGS: Localized =
    localized("LLaMA-Factory, which the settings are named after", "LLaMA-Factory（设置的名称与它一致）");
const HOME: &str = "https://github.com/hiyouga/LLaMA-Factory";

/// The content of a `kernel_info_reply`.
pub(crate) fn reply(lang: Lang) -> Value {
    json!({
        "status": "ok",
        "protocol_version": PROTOCOL_VERSION,
        "implementation": "tunebook",
        "implementation_version": env!("CARGO_PKG_VERSION"),
        "language_info": {
            "name": LANGUAGE,
            "version": env!("CARGO_PKG_VERSION"),
            "mimetype": "text/x-tunebook",
            "file_extension": ".tune",
            "pygments_lexer": LEXER,
            "codemirror_mode": MODE,
            "nbconvert_exporter": "script",
        },
        "banner": banner(lang),
        "help_links": [{"text": SETTINGS.in_lang(lang), "url": HOME}],
        "debugger": false,
        "supported_features": [],
    })
}

fn banner(lang: Lang) -> String {
    let version = env!("CARGO_PKG_VERSION");
    localized!(
        lang,
        "tunebook {version}: fine-tune vision-language models step by step. `help` lists the commands.",
        "tunebook {version}：逐步微调视觉语言模型。`help` 列出命令。"
    )
}
