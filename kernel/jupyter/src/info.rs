//! What the kernel says of itself.

use serde_json::Value;
use serde_json::json;

use crate::wire::PROTOCOL_VERSION;

/// The language by which VS Code and Zed choose an editor's mode: `%%rust` cells are Rust, and a language they know keeps
/// them from asking. JupyterLab goes by `codemirror_mode`, which fits the commands.
pub const LANGUAGE: &str = "rust";
const HOME: &str = "https://github.com/hiyouga/LLaMA-Factory";

/// The content of a `kernel_info_reply`.
pub fn reply() -> Value {
    json!({
        "status": "ok",
        "protocol_version": PROTOCOL_VERSION,
        "implementation": "tunebook",
        "implementation_version": env!("CARGO_PKG_VERSION"),
        "language_info": {
            "name": LANGUAGE,
            "version": env!("CARGO_PKG_VERSION"),
            "mimetype": "text/x-sh",
            "file_extension": ".tune",
            "pygments_lexer": "bash",
            "codemirror_mode": "shell",
            "nbconvert_exporter": "script",
        },
        "banner": concat!(
            "tunebook ",
            env!("CARGO_PKG_VERSION"),
            ": fine-tune vision-language models step by step. `help` lists the commands."
        ),
        "help_links": [{"text": "LLaMA-Factory, whose names the settings have", "url": HOME}],
        "debugger": false,
        "supported_features": [],
    })
}
