//! Adapters, and where one was saved.

use tunebook_engine::report::AdapterReport;
use tunebook_engine::report::LoraReport;
use tunebook_engine::report::Parent;
use tunebook_engine::report::SaveReport;

use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::page::Page;
use crate::quantities::LAYER;
use crate::quantities::STEP;
use crate::quantities::count;
use crate::quantities::thousands;
use crate::text::table::draw_table;

pub(super) fn adapter(report: &AdapterReport, lang: Lang) -> String {
    let (trainable, all) = (report.trainable_parameters, report.all_parameters);
    let kind = report.lora.as_ref().map_or_else(
        || localized("weights of the model", "模型自身的权重").in_lang(lang).to_string(),
        |LoraReport { kind, rank, alpha, dropout, modules }| {
            let variant = if *kind == "LoRA" { String::new() } else { format!("{kind}, ") };
            let layers = count(*modules, LAYER, lang);
            localized!(
                lang,
                "{variant}rank {rank}, alpha {alpha}, dropout {dropout}, {layers}",
                "{variant}秩 {rank}，缩放系数 {alpha}，随机丢弃 {dropout}，{layers}"
            )
        },
    );
    let (name, made) = (&report.name, count(report.step, STEP, lang));
    let trained = match report.step {
        0 => String::new(),
        _ => localized!(lang, ", trained for {made}", "，已训练 {made}"),
    };
    localized!(lang, "adapter `{name}` is active: {kind}{trained}", "适配器 `{name}` 已启用：{kind}{trained}")
        + &format!(
            "\ntrainable params: {} || all params: {} || trainable%: {:.4}",
            thousands(trainable),
            thousands(all),
            100.0 * trainable as f64 / all.max(1) as f64,
        )
        + &not_finite(report.not_finite.as_deref(), lang)
}

pub(super) fn adapters(reports: &[AdapterReport], page: Page) -> String {
    if reports.is_empty() {
        const NONE: Localized = localized(
            "there are no adapters; `lora` creates one, `adapter load FOLDER` loads one",
            "还没有适配器；`lora` 新建一个，`adapter load FOLDER` 加载一个",
        );
        return NONE.in_lang(page.lang).to_string();
    }
    draw_table(&adapters_table(reports, page.lang), page)
}

/// A branch stands below what it came from.
pub(super) fn adapters_table(reports: &[AdapterReport], lang: Lang) -> Table {
    let has_branches = reports.iter().any(|report| report.parent.is_some());
    let row = |(depth, report): (usize, &AdapterReport)| {
        let of_lora = |show: &dyn Fn(&LoraReport) -> String| report.lora.as_ref().map(show).unwrap_or_default();
        let on = if report.active { localized("active", "启用").in_lang(lang) } else { "" };
        let mut row = vec![
            tree(depth) + &report.name,
            on.to_string(),
            report.lora.as_ref().map_or(localized("weights", "权重").in_lang(lang), |lora| lora.kind).to_string(),
            of_lora(&|lora| lora.rank.to_string()),
            of_lora(&|lora| lora.alpha.to_string()),
            of_lora(&|lora| lora.dropout.to_string()),
            of_lora(&|lora| lora.modules.to_string()),
            thousands(report.trainable_parameters),
            report.step.to_string(),
        ];
        if has_branches {
            row.push(report.parent.as_ref().map_or_else(String::new, |Parent { adapter, step }| {
                localized!(lang, "{adapter} at step {step}", "{adapter} 的第 {step} 步")
            }));
        }
        row
    };
    let mut headers = vec![
        localized("adapter", "适配器"),
        localized("", ""),
        localized("kind", "类型"),
        localized("rank", "秩"),
        localized("alpha", "缩放系数"),
        localized("dropout", "随机丢弃"),
        localized("layers", "层数"),
        localized("parameters", "参数量"),
        localized("steps", "步数"),
    ];
    if has_branches {
        headers.push(localized("branched from", "分出自"));
    }
    let headers = headers.into_iter().map(|text| text.in_lang(lang)).collect();
    Table { headers, rows: family_tree(reports).into_iter().map(row).collect(), ..Table::default() }
}

/// Each adapter with its depth, branches behind what they came from.
fn family_tree(reports: &[AdapterReport]) -> Vec<(usize, &AdapterReport)> {
    fn add<'a>(
        depth: usize,
        report: &'a AdapterReport,
        reports: &'a [AdapterReport],
        tree: &mut Vec<(usize, &'a AdapterReport)>,
    ) {
        tree.push((depth, report));
        let is_branch =
            |other: &&AdapterReport| other.parent.as_ref().is_some_and(|parent| parent.adapter == report.name);
        reports.iter().filter(is_branch).for_each(|branch| add(depth + 1, branch, reports, tree));
    }
    let mut tree = Vec::with_capacity(reports.len());
    reports.iter().filter(|report| report.parent.is_none()).for_each(|root| add(0, root, reports, &mut tree));
    tree
}

/// What stands before the name of a branch.
fn tree(depth: usize) -> String {
    if depth == 0 { String::new() } else { "  ".repeat(depth - 1) + "└ " }
}

pub(super) fn saved(report: &SaveReport, lang: Lang) -> String {
    let (folder, files) = (report.folder.display(), report.files.join(", "));
    localized!(lang, "saved to {folder}: {files}", "已保存到 {folder}：{files}")
        + &not_finite(report.not_finite.as_deref(), lang)
}

/// A warning of an adapter's tensor with values that are no numbers, where there is one.
fn not_finite(tensor: Option<&str>, lang: Lang) -> String {
    let warning = |name: &str| {
        localized!(
            lang,
            "\nwarning: `{name}` contains NaN or infinity, so the adapter cannot be used",
            "\n警告：`{name}` 中有 NaN 或无穷大，这个适配器无法使用"
        )
    };
    tensor.map(warning).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_reported_in_the_words_of_peft() {
        let report = AdapterReport {
            name: "default".to_string(),
            active: true,
            lora: Some(LoraReport { kind: "LoRA", rank: 8, alpha: 16.0, dropout: 0.0, modules: 252 }),
            trainable_parameters: 14_966_784,
            all_parameters: 3_769_589_760,
            step: 0,
            parent: None,
            not_finite: None,
        };
        assert_eq!(
            adapter(&report, Lang::En),
            "adapter `default` is active: rank 8, alpha 16, dropout 0, 252 layers\ntrainable params: 14,966,784 || all params: 3,769,589,760 || trainable%: 0.3970"
        );
    }
}
