//! Outputs as plain text.

use std::path::Path;

use comfy_table::ContentArrangement;
use comfy_table::presets;
use tunebook_engine::report::AdapterReport;
use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ChatReport;
use tunebook_engine::report::CompareReport;
use tunebook_engine::report::DataReport;
use tunebook_engine::report::LoadReport;
use tunebook_engine::report::LoraReport;
use tunebook_engine::report::ResumeReport;
use tunebook_engine::report::SampleReport;
use tunebook_engine::report::SaveReport;
use tunebook_engine::report::SkippedKind;
use tunebook_engine::report::Spread;
use tunebook_engine::report::Status;
use tunebook_engine::report::StepRecord;
use unicode_width::UnicodeWidthStr;

use crate::chart;
use crate::lang::Lang;
use crate::lang::Localize;
use crate::lang::Localized;
use crate::lang::localized;
use crate::loaded;
use crate::loaded::place;
use crate::loaded::quantized;
use crate::localized;
use crate::notes::system_prompt;
use crate::notes::system_text;
use crate::output::Output;
use crate::output::Table;
use crate::page::Page;
use crate::page::padded;
use crate::page::wrap;
use crate::printable::colourless;
use crate::quantities::LAYER;
use crate::quantities::PACK;
use crate::quantities::PICTURE;
use crate::quantities::SAMPLE;
use crate::quantities::STEP;
use crate::quantities::TOKEN;
use crate::quantities::TURN;
use crate::quantities::count;
use crate::quantities::seconds;
use crate::quantities::size;
use crate::quantities::thousands;
use crate::results;
use crate::training;

/// `output` as lines of text, without a line feed at the end; empty if there is nothing to say.
pub fn render(output: &Output, page: Page) -> String {
    let lang = page.lang;
    match output {
        Output::Nothing | Output::Picture(_) | Output::Clear | Output::Quit | Output::Conversation => String::new(),
        Output::Text(text) | Output::Stderr(text) => text.clone(),
        Output::Display(contents) => displayed(contents, lang),
        Output::Table(table) => draw_table(table, page),
        Output::Loaded(report) => lines(&loaded::loaded(report, lang), page),
        Output::Data(report) => data(report, page),
        Output::Sample(report) => sample(report, page),
        Output::Adapter(report) => lines(&adapter(report, lang), page),
        Output::Adapters(reports) => adapters(reports, page),
        Output::Step(record) => training::step(record, lang),
        Output::Evaluation(record) => page.warm(&training::evaluation(record, lang)),
        Output::Trained(report) => lines(&training::trained(report, lang), page),
        Output::Resumed(report) => resumed(report, page),
        Output::Plot(plot) => {
            let drawn = |file: &std::path::PathBuf| {
                let file = file.display();
                localized!(lang, "\nsaved to {file}", "\n已存到 {file}")
            };
            chart::draw(plot, page) + &plot.file.as_ref().map(drawn).unwrap_or_default()
        }
        Output::Answer(report) => page.faint(&answer(report, lang)),
        Output::Evaluated(report) => draw_table(&results::evaluated(report, lang), page),
        Output::Prediction(report) => results::prediction(report, page),
        Output::Predicted(report) => draw_table(&results::predicted(report, lang), page),
        Output::Compared(report) => results::compared(report, page),
        Output::Saved(report) => lines(&saved(report, lang), page),
        Output::Exported(report) => lines(&results::exported(report, lang), page),
        Output::Status(report) => lines(&status(report, lang), page),
    }
}

/// What a Rust cell displays, where only text can be shown.
fn displayed(contents: &[(String, String)], lang: Lang) -> String {
    let text = contents.iter().find(|(kind, _)| kind == "text/plain");
    text.map(|(_, text)| text.clone()).unwrap_or_else(|| {
        let kinds = contents.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>().join(", ");
        localized!(lang, "({kinds}, shown only in a notebook)", "（{kinds}，只能在笔记本中显示）")
    })
}

/// How each answer of a comparison came about, for a face that has shown the answers as they came.
pub fn compared_ends(report: &CompareReport, page: Page) -> String {
    results::ends(report, page)
}

/// Whether the answers of a comparison have room side by side.
pub fn fits_side_by_side(report: &CompareReport, page: Page) -> bool {
    results::are_side_by_side(report, page)
}

/// What `output` shows as a table, for a face that draws tables itself.
pub fn table(output: &Output, lang: Lang) -> Option<Table> {
    match output {
        Output::Table(table) => Some(table.clone()),
        Output::Data(report) => Some(data_table(report, lang)),
        Output::Adapters(reports) if !reports.is_empty() => Some(adapters_table(reports, lang)),
        Output::Evaluated(report) => Some(results::evaluated(report, lang)),
        Output::Predicted(report) => Some(results::predicted(report, lang)),
        _ => None,
    }
}

fn draw_table(table: &Table, page: Page) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(presets::NOTHING).set_width(page.width.min(120) as u16);
    drawn.set_content_arrangement(ContentArrangement::Dynamic).set_header(&table.headers).add_rows(&table.rows);
    let lines = drawn.to_string();
    let mut lines: Vec<_> = lines.lines().map(|line| line.trim_end().to_string()).collect();
    if let Some(header) = lines.first_mut() {
        *header = page.faint(header);
    }
    let extra = |text: &str| (!text.is_empty()).then(|| text.to_string());
    let all = extra(&table.title).into_iter().chain(lines).chain(extra(&table.note));
    all.collect::<Vec<_>>().join("\n")
}

fn data(report: &DataReport, page: Page) -> String {
    let Table { title, note, headers, rows } = data_table(report, page.lang);
    let table = Table { headers, rows, ..Table::default() };
    [lines(&title, page), draw_table(&table, page), lines(&note, page)].join("\n")
}

/// Tokens a sample and a picture; the note says what was cut and what was left out.
fn data_table(report: &DataReport, lang: Lang) -> Table {
    let row = |what: Localized, spread: &Spread| {
        let Spread { count: _, total, min, median, p95, max } = *spread;
        let what = what.in_lang(lang).to_string();
        std::iter::once(what).chain([min, median, p95, max, total].map(thousands)).collect::<Vec<_>>()
    };
    let mut rows = vec![
        row(localized("tokens per sample", "每个样本的 token"), &report.tokens),
        row(localized("supervised", "其中计算损失的"), &report.supervised_tokens),
    ];
    if report.picture_tokens.count > 0 {
        rows.push(row(localized("tokens per image", "每张图片的 token"), &report.picture_tokens));
    }
    let mut note = count(report.picture_tokens.count, PICTURE, lang);
    if report.truncated > 0 {
        let samples = count(report.truncated, SAMPLE, lang);
        note += &localized!(lang, "; {samples} truncated to cutoff_len", "；{samples}被截断到 cutoff_len");
    }
    if let Some(system) = &report.system {
        let system = system_text(system, lang);
        note += &localized!(lang, "\nsystem prompt of all samples: {system}", "\n所有样本的系统提示词：{system}");
    }
    for SkippedKind { count: left_out, first } in &report.skipped {
        let (samples, kind, first) =
            (count(*left_out, SAMPLE, lang), first.reason.kind().localize(lang), first.localize(lang));
        note += &localized!(
            lang,
            "\n{samples} skipped ({kind}), the first: {first}",
            "\n跳过了 {samples}（{kind}），第一个：{first}"
        );
    }
    if report.skipped.iter().any(|kind| kind.count > 1) {
        note += localized("\n`data skipped` lists them", "\n`data skipped` 列出它们").in_lang(lang);
    }
    let headers = [
        localized("", ""),
        localized("min", "最小"),
        localized("median", "中位数"),
        localized("95 %", "95 %"),
        localized("max", "最大"),
        localized("total", "合计"),
    ];
    Table { title: chosen(report, lang), headers: headers.map(|text| text.in_lang(lang)).to_vec(), rows, note }
}

fn chosen(report: &DataReport, lang: Lang) -> String {
    let packs = report.packs.map(|packs| count(packs, PACK, lang));
    let packs = packs.map(|packs| localized!(lang, " in {packs}", "（{packs}）")).unwrap_or_default();
    let eval = match report.eval_samples {
        0 => String::new(),
        samples => {
            let samples = thousands(samples);
            localized!(lang, ", {samples} to evaluate on", "，{samples} 个用于评估")
        }
    };
    let names = report.names.join(", ");
    let (samples, steps) = (count(report.samples, SAMPLE, lang), count(report.steps_per_epoch, STEP, lang));
    localized!(
        lang,
        "{names}: {samples} to train on{packs}{eval}; {steps} per epoch",
        "{names}：{samples}用于训练{packs}{eval}；每轮 {steps}"
    )
}

fn sample(report: &SampleReport, page: Page) -> String {
    let lang = page.lang;
    let mut text = sample_title(report, lang) + "\n";
    for picture in &report.pictures {
        let (path, patches) = (picture.path.display(), patches(picture, lang));
        text += &localized!(lang, "image {path}: {patches}\n", "图片 {path}：{patches}\n");
    }
    for run in report.tokens.chunk_by(|a, b| a.supervised == b.supervised) {
        let written: String = run
            .iter()
            .map(|token| match token.count {
                1 => token.text.clone(),
                count => format!("{}×{count}", token.text),
            })
            .collect();
        let written = colourless(&written);
        match run[0].supervised {
            true => text += &page.bright(&format!("⟦{written}⟧")),
            false => text += &written,
        }
    }
    let (tokens, learned) = sample_counts(report, lang);
    text.trim_end().to_string() + &localized!(lang, "\n{tokens}, {learned}", "\n{tokens}，{learned}")
}

/// `sample 3 of 21, creatures.json[3]`
pub fn sample_title(report: &SampleReport, lang: Lang) -> String {
    let SampleReport { index, samples, origin, .. } = report;
    localized!(lang, "sample {index} of {samples}, {origin}", "样本 {index}（共 {samples} 个），{origin}")
}

/// How many tokens a sample has, and how many of them are learned.
pub fn sample_counts(report: &SampleReport, lang: Lang) -> (String, String) {
    let tokens: usize = report.tokens.iter().map(|token| token.count).sum();
    let learned = report.tokens.iter().filter(|token| token.supervised).map(|token| token.count).sum();
    let learned = thousands(learned);
    (count(tokens, TOKEN, lang), localized!(lang, "{learned} supervised", "其中 {learned} 个计算损失"))
}

/// How a picture is cut.
pub fn patches(picture: &tunebook_engine::report::PictureReport, lang: Lang) -> String {
    let (width, height, size, tokens) =
        (picture.grid_w, picture.grid_h, picture.patch, count(picture.tokens, TOKEN, lang));
    localized!(
        lang,
        "{width} × {height} patches of {size} pixels, {tokens}",
        "{width} × {height} 个图块，每块 {size} 像素，{tokens}"
    )
}

fn adapter(report: &AdapterReport, lang: Lang) -> String {
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

fn adapters(reports: &[AdapterReport], page: Page) -> String {
    if reports.is_empty() {
        const NONE: Localized = localized(
            "there are no adapters; `lora` creates one, `adapter load FOLDER` loads one",
            "还没有适配器；`lora` 新建一个，`adapter load FOLDER` 加载一个",
        );
        return NONE.in_lang(page.lang).to_string();
    }
    draw_table(&adapters_table(reports, page.lang), page)
}

fn adapters_table(reports: &[AdapterReport], lang: Lang) -> Table {
    let row = |report: &AdapterReport| {
        let of_lora = |show: &dyn Fn(&LoraReport) -> String| report.lora.as_ref().map(show).unwrap_or_default();
        let on = if report.active { localized("active", "启用").in_lang(lang) } else { "" };
        vec![
            report.name.clone(),
            on.to_string(),
            report.lora.as_ref().map_or(localized("weights", "权重").in_lang(lang), |lora| lora.kind).to_string(),
            of_lora(&|lora| lora.rank.to_string()),
            of_lora(&|lora| lora.alpha.to_string()),
            of_lora(&|lora| lora.dropout.to_string()),
            of_lora(&|lora| lora.modules.to_string()),
            thousands(report.trainable_parameters),
            report.step.to_string(),
        ]
    };
    let headers = [
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
    let headers = headers.map(|text| text.in_lang(lang)).to_vec();
    Table { headers, rows: reports.iter().map(row).collect(), ..Table::default() }
}

/// How an answer came about.
pub fn answer(report: &ChatReport, lang: Lang) -> String {
    let end = match report.end {
        AnswerEnd::EndOfTurn => localized("", ""),
        AnswerEnd::MaxNewTokens => localized("; stopped at max_new_tokens", "；达到 max_new_tokens"),
        AnswerEnd::Interrupted => localized("; stopped", "；已停止"),
    };
    let known = match report.cached_tokens {
        0 => String::new(),
        tokens => {
            let tokens = thousands(tokens);
            localized!(lang, " ({tokens} cached)", "（{tokens} 个已缓存）")
        }
    };
    let first = report.first_token.map(|first| seconds(first, lang));
    let first = first
        .map(|first| localized!(lang, ", first token after {first}", "，首个 token 用时 {first}"))
        .unwrap_or_default();
    let rate = report.new_tokens as f64 / report.elapsed.as_secs_f64().max(1e-9);
    let (tokens, prompt) = (count(report.new_tokens, TOKEN, lang), thousands(report.prompt_tokens));
    let (time, end) = (seconds(report.elapsed, lang), end.in_lang(lang));
    localized!(
        lang,
        "[prompt {prompt} tokens{known}, answer {tokens} in {time}{first}, {rate:.1} tokens/s{end}]",
        "[提示词 {prompt} 个 token{known}，回答 {tokens}，用时 {time}{first}，{rate:.1} token/秒{end}]"
    )
}

fn resumed(report: &ResumeReport, page: Page) -> String {
    let read = report.data.as_ref().map(|report| data(report, page) + "\n").unwrap_or_default();
    read + &lines(&training::resumed(report, page.lang), page)
}

fn saved(report: &SaveReport, lang: Lang) -> String {
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

fn status(report: &Status, lang: Lang) -> String {
    let none = || localized("none", "无").in_lang(lang).to_string();
    let model = report.model.as_ref().map_or_else(none, |model| {
        let (parameters, quantized) = (thousands(model.parameters), quantized(model, lang));
        let LoadReport { name, dtype, .. } = model;
        let place = place(model, lang);
        localized!(
            lang,
            "{name}, {parameters} parameters in {dtype}{quantized}{place}",
            "{name}，{parameters} 个参数，{dtype}{quantized}{place}"
        )
    });
    let data = report.data.as_ref().map_or_else(none, |data| {
        let names = data.names.join(", ");
        let (samples, tokens) = (count(data.samples, SAMPLE, lang), count(data.tokens.total, TOKEN, lang));
        localized!(lang, "{names}: {samples}, {tokens}", "{names}：{samples}，{tokens}")
    });
    let on = localized(" (active)", "（启用）").in_lang(lang);
    let adapters: Vec<_> = report
        .adapters
        .iter()
        .map(|adapter| format!("{}{}", adapter.name, if adapter.active { on } else { "" }))
        .collect();
    let mut training = match (report.step, report.total_steps) {
        (0, 0) => none(),
        (step, total) => localized!(lang, "step {step} of {total}", "第 {step} 步，共 {total} 步"),
    };
    if let Some(StepRecord { epoch, loss, .. }) = &report.last {
        training += &localized!(lang, ", epoch {epoch:.2}, loss {loss:.4}", "，第 {epoch:.2} 轮，损失 {loss:.4}");
    }
    let mut lines = vec![
        (localized("model", "模型"), model),
        (localized("data", "数据"), data),
        (localized("adapters", "适配器"), if adapters.is_empty() { none() } else { adapters.join(", ") }),
        (localized("training", "训练"), training),
        (localized("chat", "对话"), count(report.turns, TURN, lang)),
    ];
    if let Some(checkpoint) = &report.recovered {
        lines.push((localized("recovery", "恢复"), recovered(checkpoint, lang)));
    }
    if let Some(prompt) = &report.system {
        lines.push((localized("system", "系统提示词"), system_prompt(prompt, lang)));
    }
    if let Some(bytes) = report.resident_bytes {
        let size = size(bytes);
        lines.push((localized("memory", "内存"), localized!(lang, "{size} resident", "占用 {size}")));
    }
    let width = lines.iter().map(|(name, _)| name.in_lang(lang).width()).max().unwrap_or(0);
    let line = |(name, text): (Localized, String)| format!("{}  {text}", padded(name.in_lang(lang), width));
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What an earlier session has left.
pub fn recovered(checkpoint: &Path, lang: Lang) -> String {
    let place = checkpoint.display();
    localized!(
        lang,
        "the training of an earlier session, which was terminated from outside, is saved in {place}: `load` its model, \
         then `resume` that folder; this reminder appears until the folder is deleted",
        "早先的会话被外部终止，它的训练保存在 {place}：请先 `load` 它的模型，再 `resume` 这个文件夹；删除它之前会一直\
         提示"
    )
}

/// Every line of `text`, wrapped to the page.
fn lines(text: &str, page: Page) -> String {
    text.lines().map(|line| wrap(line, 2, page.width)).collect::<Vec<_>>().join("\n")
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
            not_finite: None,
        };
        assert_eq!(
            adapter(&report, Lang::En),
            "adapter `default` is active: rank 8, alpha 16, dropout 0, 252 layers\n\
             trainable params: 14,966,784 || all params: 3,769,589,760 || trainable%: 0.3970"
        );
    }

    #[test]
    fn a_table_fits_the_page() {
        let table = Table {
            headers: vec!["a", "b"],
            rows: vec![vec!["x".to_string(), "many words ".repeat(20)]],
            ..Table::default()
        };
        let text = draw_table(&table, Page { width: 50, color: false, lang: Lang::En });
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 50), "{text}");
    }
}
