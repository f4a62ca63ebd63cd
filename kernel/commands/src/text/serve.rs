//! What `serve` says, as plain text.

use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::serving::ServeReport;

/// Where the server is, and whom it answers as.
pub(super) fn serving(report: Option<&ServeReport>, lang: Lang) -> String {
    let Some(ServeReport { address, needs_key, models }) = report else {
        return localized("no server is running", "没有运行服务器").in_lang(lang).to_string();
    };
    let key = match needs_key {
        true => localized(", with a key", "，需要密钥"),
        false => localized("", ""),
    };
    let key = key.in_lang(lang);
    let at = localized!(lang, "serving at http://{address}/v1{key}", "服务地址：http://{address}/v1{key}");
    let models = match models.as_slice() {
        [] => localized("no model is loaded yet", "还没有加载模型").in_lang(lang).to_string(),
        models => {
            let models = models.join(", ");
            localized!(lang, "models: {models}", "模型：{models}")
        }
    };
    format!("{at}\n{models}")
}
