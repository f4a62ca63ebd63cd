//! What would go to a hub, and what went there.

use tunebook_engine::hub::decimal_size;
use tunebook_engine::hub::push::PushReport;
use tunebook_engine::hub::push::Sent;
use tunebook_engine::hub::push::Subject;
use tunebook_quote::quote;
use tunebook_quote::quote_end;

use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::quantities::FILE;
use crate::quantities::count;

pub(super) fn pushed(report: &PushReport, lang: Lang) -> String {
    match &report.sent {
        Some(sent) => result(report, sent, lang),
        None => plan(report, lang),
    }
}

/// Everything that one should know before saying yes.
fn plan(report: &PushReport, lang: Lang) -> String {
    let PushReport { subject, plan, .. } = report;
    let (id, hub, endpoint, branch) = (&plan.id, plan.hub, &plan.endpoint, quote(&plan.revision));
    let subject = match subject {
        Subject::Folder(folder) => quote_end(&folder.display().to_string()),
        Subject::Adapter(name) => {
            let name = quote(name);
            localized!(lang, "adapter {name}", "适配器 {name}")
        }
    };
    let who = match plan.is_private {
        true => {
            localized("private: only you and members of the owner can see it", "私有：只有你和所属组织的成员能看到")
        }
        false => localized("public: everybody can see it", "公开：所有人都能看到"),
    };
    let (who, files, size) = (who.in_lang(lang), count(plan.files.len(), FILE, lang), bytes(plan.size()));
    let mut lines = vec![
        localized!(
            lang,
            "{subject} to {id} on {hub} ({endpoint}), branch {branch}",
            "{subject} → {hub}（{endpoint}）上的 {id}，分支 {branch}"
        ),
        localized!(
            lang,
            "{who}; if the repository exists already, it stays as it is",
            "{who}；如果仓库已存在，则保持不变"
        ),
        localized!(lang, "{files}, {size}:", "{files}，{size}："),
    ];
    let names: Vec<_> = plan.files.iter().map(|file| quote_end(&file.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    lines.extend(names.iter().zip(&plan.files).map(|(name, file)| format!("  {name:width$}  {}", bytes(file.size))));
    if !plan.left_out.is_empty() {
        let names = plan.left_out.iter().map(|name| quote_end(name)).collect::<Vec<_>>().join(", ");
        lines.push(localized!(lang, "not sent: {names}", "不上传：{names}"));
    }
    if let Some(base) = &plan.local_base {
        lines.push(localized!(
            lang,
            "note: adapter_config.json names the base model {base}, a folder of this machine; others find it if the model is \
             loaded as OWNER/NAME",
            "注意：adapter_config.json 写的基础模型是 {base}，这是本机的文件夹；用 OWNER/NAME 加载模型，其他人才能找到它"
        ));
    }
    if !plan.has_token {
        lines.push(localized("there is no token yet (HF_TOKEN)", "还没有令牌（HF_TOKEN）").in_lang(lang).to_string());
    }
    lines.push(
        localized(
            "Nothing has been sent. The same line with yes=true sends it.",
            "还没有上传任何内容。同一行加上 yes=true 才会上传。",
        )
        .in_lang(lang)
        .to_string(),
    );
    lines.join("\n")
}

fn result(report: &PushReport, sent: &Sent, lang: Lang) -> String {
    let (url, size) = (&sent.url, bytes(sent.bytes));
    if sent.files == 0 {
        return localized!(lang, "{url} has all of it already; nothing was sent", "{url} 已有全部内容，没有上传");
    }
    let files = count(sent.files, FILE, lang);
    let who = if report.plan.is_private { localized(", private", "，私有") } else { localized("", "") };
    let who = who.in_lang(lang);
    localized!(lang, "{files} committed to {url}{who}; {size} sent", "已提交 {files}到 {url}{who}；上传了 {size}")
}

/// `312 bytes`, `4.1 kB`, `12.3 MB`.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => decimal_size(bytes),
    }
}
