//! Outputs as plain text.

use std::time::Duration;

use comfy_table::ContentArrangement;
use comfy_table::presets;
use tunebook_engine::report::AdapterReport;
use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ChatReport;
use tunebook_engine::report::DataReport;
use tunebook_engine::report::LoadReport;
use tunebook_engine::report::LoraReport;
use tunebook_engine::report::ResumeReport;
use tunebook_engine::report::SampleReport;
use tunebook_engine::report::SaveReport;
use tunebook_engine::report::SkippedKind;
use tunebook_engine::report::Spread;
use tunebook_engine::report::Status;

use crate::chart;
use crate::output::Output;
use crate::output::Table;
use crate::results;
use crate::training;

/// What text is written on.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// In characters.
    pub width: usize,
    /// Whether ANSI escapes may be used.
    pub color: bool,
}

impl Page {
    pub fn bright(&self, text: &str) -> String {
        self.styled("32", text)
    }

    pub fn faint(&self, text: &str) -> String {
        self.styled("2", text)
    }

    pub fn warm(&self, text: &str) -> String {
        self.styled("33", text)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// `output` as lines of text, without a line feed at the end; empty if there is nothing to say.
pub fn render(output: &Output, page: Page) -> String {
    match output {
        Output::Nothing | Output::Clear | Output::Quit | Output::Conversation => String::new(),
        Output::Text(text) => text.clone(),
        Output::Table(table) => draw_table(table, page),
        Output::Loaded(report) => lines(&loaded(report), page),
        Output::Data(report) => data(report, page),
        Output::Sample(report) => sample(report, page),
        Output::Adapter(report) => lines(&adapter(report), page),
        Output::Adapters(reports) => adapters(reports, page),
        Output::Step(record) => training::step(record),
        Output::Evaluation(record) => page.warm(&training::evaluation(record)),
        Output::Trained(report) => lines(&training::trained(report), page),
        Output::Resumed(report) => resumed(report, page),
        Output::Plot(plot) => {
            let file = plot.file.as_ref().map(|file| format!("\ndrawn to {}", file.display())).unwrap_or_default();
            chart::draw(plot, page) + &file
        }
        Output::Answer(report) => page.faint(&answer(report)),
        Output::Evaluated(report) => draw_table(&results::evaluated(report), page),
        Output::Prediction(report) => results::prediction(report, page),
        Output::Predicted(report) => draw_table(&results::predicted(report), page),
        Output::Compared(report) => results::compared(report, page),
        Output::Saved(report) => lines(&saved(report), page),
        Output::Exported(report) => lines(&results::exported(report), page),
        Output::Status(report) => lines(&status(report), page),
    }
}

/// What `output` shows as a table, for a face that draws tables itself.
pub fn table(output: &Output) -> Option<Table> {
    match output {
        Output::Table(table) => Some(table.clone()),
        Output::Data(report) => Some(data_table(report)),
        Output::Adapters(reports) if !reports.is_empty() => Some(adapters_table(reports)),
        Output::Evaluated(report) => Some(results::evaluated(report)),
        Output::Predicted(report) => Some(results::predicted(report)),
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

fn loaded(report: &LoadReport) -> String {
    format!(
        "{} from {} in {}\n{} parameters in {}{}, products in {}; {} text and {} vision layers, {} tokens known",
        report.architecture,
        report.name,
        seconds(report.elapsed),
        thousands(report.parameters),
        report.stored_dtype,
        quantized(report),
        report.dtype,
        report.text_layers,
        report.vision_layers,
        thousands(report.vocabulary),
    )
}

fn data(report: &DataReport, page: Page) -> String {
    let Table { title, note, headers, rows } = data_table(report);
    let table = Table { headers, rows, ..Table::default() };
    [lines(&title, page), draw_table(&table, page), lines(&note, page)].join("\n")
}

/// Tokens a sample and a picture; the note says what was cut and what was left out.
fn data_table(report: &DataReport) -> Table {
    let row = |what: &str, spread: &Spread| {
        let Spread { count: _, total, min, median, p95, max } = *spread;
        std::iter::once(what.to_string()).chain([min, median, p95, max, total].map(thousands)).collect::<Vec<_>>()
    };
    let mut rows = vec![row("tokens a sample", &report.tokens), row("to learn", &report.supervised_tokens)];
    if report.picture_tokens.count > 0 {
        rows.push(row("tokens a picture", &report.picture_tokens));
    }
    let mut note = count(report.picture_tokens.count, "picture");
    if report.truncated > 0 {
        note += &format!("; {} cut to cutoff_len", count(report.truncated, "sample"));
    }
    for SkippedKind { kind, count: left_out, first } in &report.skipped {
        note += &format!("\n{} left out ({kind}), the first: {first}", count(*left_out, "sample"));
    }
    Table { title: chosen(report), headers: vec!["", "min", "median", "95 %", "max", "in all"], rows, note }
}

fn chosen(report: &DataReport) -> String {
    let packs = report.packs.map(|packs| format!(" in {}", count(packs, "pack"))).unwrap_or_default();
    let eval = match report.eval_samples {
        0 => String::new(),
        samples => format!(", {} to evaluate on", thousands(samples)),
    };
    format!(
        "{}: {} to train on{packs}{eval}; {} an epoch",
        report.names.join(", "),
        count(report.samples, "sample"),
        count(report.steps_per_epoch, "step"),
    )
}

fn sample(report: &SampleReport, page: Page) -> String {
    let mut text = format!("sample {} of {}, {}\n", report.index, report.samples, report.origin);
    for picture in &report.pictures {
        text += &format!(
            "picture {}: {} × {} patches of {} pixels, {}\n",
            picture.path.display(),
            picture.grid_w,
            picture.grid_h,
            picture.patch,
            count(picture.tokens, "token"),
        );
    }
    for run in report.tokens.chunk_by(|a, b| a.supervised == b.supervised) {
        let written: String = run
            .iter()
            .map(|token| match token.count {
                1 => token.text.clone(),
                count => format!("{}×{count}", token.text),
            })
            .collect();
        match run[0].supervised {
            true => text += &page.bright(&format!("⟦{written}⟧")),
            false => text += &written,
        }
    }
    let tokens: usize = report.tokens.iter().map(|token| token.count).sum();
    let learned: usize = report.tokens.iter().filter(|token| token.supervised).map(|token| token.count).sum();
    text.trim_end().to_string() + &format!("\n{}, {} to learn", count(tokens, "token"), thousands(learned))
}

fn adapter(report: &AdapterReport) -> String {
    let (trainable, all) = (report.trainable_parameters, report.all_parameters);
    let kind = report.lora.as_ref().map_or_else(
        || "weights of the model".to_string(),
        |LoraReport { kind, rank, alpha, dropout, modules }| {
            let variant = if *kind == "LoRA" { String::new() } else { format!("{kind}, ") };
            format!("{variant}rank {rank}, alpha {alpha}, dropout {dropout}, {}", count(*modules, "layer"))
        },
    );
    format!(
        "adapter `{}` is on: {kind}{}\n\
         trainable params: {} || all params: {} || trainable%: {:.4}",
        report.name,
        if report.step > 0 { format!(", trained {}", count(report.step, "step")) } else { String::new() },
        thousands(trainable),
        thousands(all),
        100.0 * trainable as f64 / all.max(1) as f64,
    )
}

fn adapters(reports: &[AdapterReport], page: Page) -> String {
    if reports.is_empty() {
        return "there are no adapters; `lora` makes one, `adapter load FOLDER` loads one".to_string();
    }
    draw_table(&adapters_table(reports), page)
}

fn adapters_table(reports: &[AdapterReport]) -> Table {
    let row = |report: &AdapterReport| {
        let of_lora = |show: &dyn Fn(&LoraReport) -> String| report.lora.as_ref().map(show).unwrap_or_default();
        vec![
            report.name.clone(),
            if report.active { "on" } else { "" }.to_string(),
            report.lora.as_ref().map_or("weights", |lora| lora.kind).to_string(),
            of_lora(&|lora| lora.rank.to_string()),
            of_lora(&|lora| lora.alpha.to_string()),
            of_lora(&|lora| lora.dropout.to_string()),
            of_lora(&|lora| lora.modules.to_string()),
            thousands(report.trainable_parameters),
            report.step.to_string(),
        ]
    };
    Table {
        headers: vec!["adapter", "", "kind", "rank", "alpha", "dropout", "layers", "parameters", "steps"],
        rows: reports.iter().map(row).collect(),
        ..Table::default()
    }
}

/// How an answer came about.
pub fn answer(report: &ChatReport) -> String {
    let end = match report.end {
        AnswerEnd::EndOfTurn => "",
        AnswerEnd::MaxNewTokens => "; cut at max_new_tokens",
        AnswerEnd::Interrupted => "; stopped",
    };
    let known = match report.cached_tokens {
        0 => String::new(),
        tokens => format!(" ({} known)", thousands(tokens)),
    };
    let first = report.first_token.map(|first| format!(", the first after {}", seconds(first))).unwrap_or_default();
    let rate = report.new_tokens as f64 / report.elapsed.as_secs_f64().max(1e-9);
    format!(
        "[{} after {}{known} in {}{first}, {rate:.1} tokens/s{end}]",
        count(report.new_tokens, "token"),
        thousands(report.prompt_tokens),
        seconds(report.elapsed),
    )
}

fn resumed(report: &ResumeReport, page: Page) -> String {
    let read = report.data.as_ref().map(|report| data(report, page) + "\n").unwrap_or_default();
    read + &lines(&training::resumed(report), page)
}

fn quantized(model: &LoadReport) -> String {
    model.quantized.map(|bits| format!(", linear layers in {bits}")).unwrap_or_default()
}

fn saved(report: &SaveReport) -> String {
    format!("saved to {}: {}", report.folder.display(), report.files.join(", "))
}

fn status(report: &Status) -> String {
    let none = || "none".to_string();
    let model = report.model.as_ref().map_or_else(none, |model| {
        let (parameters, quantized) = (thousands(model.parameters), quantized(model));
        format!("{}, {parameters} parameters in {}{quantized}", model.name, model.dtype)
    });
    let data = report.data.as_ref().map_or_else(none, |data| {
        format!("{}: {}, {}", data.names.join(", "), count(data.samples, "sample"), count(data.tokens.total, "token"))
    });
    let adapters: Vec<_> = report
        .adapters
        .iter()
        .map(|adapter| format!("{}{}", adapter.name, if adapter.active { " (on)" } else { "" }))
        .collect();
    let mut training = match (report.step, report.total_steps) {
        (0, 0) => "none".to_string(),
        (step, total) => format!("step {step} of {total}"),
    };
    if let Some(last) = &report.last {
        training += &format!(", epoch {:.2}, loss {:.4}", last.epoch, last.loss);
    }
    let mut lines = vec![
        format!("model     {model}"),
        format!("data      {data}"),
        format!("adapters  {}", if adapters.is_empty() { none() } else { adapters.join(", ") }),
        format!("training  {training}"),
        format!("chat      {}", count(report.turns, "turn")),
    ];
    if let Some(bytes) = report.resident_bytes {
        lines.push(format!("memory    {} resident", size(bytes)));
    }
    lines.join("\n")
}

/// Every line of `text`, wrapped to the page.
fn lines(text: &str, page: Page) -> String {
    text.lines().map(|line| wrap(line, 2, page.width)).collect::<Vec<_>>().join("\n")
}

/// `text` in lines of at most `width` characters, if its words allow; all but the first are indented.
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut words = text.split(' ');
    let mut wrapped = words.next().unwrap_or_default().to_string();
    let mut column = wrapped.chars().count();
    for word in words {
        let length = word.chars().count();
        if column > indent && column + 1 + length > width {
            wrapped += &format!("\n{:indent$}", "");
            column = indent;
        } else {
            wrapped.push(' ');
            column += 1;
        }
        wrapped += word;
        column += length;
    }
    wrapped
}

/// `1 step`, `2 steps`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// `312 MiB`, `3.25 GiB`.
pub fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / (1u64 << 20) as f64;
    if mebibytes < 1024.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.2} GiB", mebibytes / 1024.0) }
}

/// `1,234,567`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

/// `0.85 s`, `12.3 s`, `4 min 05 s`, `2 h 03 min`.
pub fn seconds(elapsed: Duration) -> String {
    let whole = elapsed.as_secs();
    match elapsed.as_secs_f64() {
        short if short < 10.0 => format!("{short:.2} s"),
        short if short < 100.0 => format!("{short:.1} s"),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(14966784), "14,966,784");
        assert_eq!(count(1, "step"), "1 step");
    }

    #[test]
    fn times_are_as_exact_as_they_are_short() {
        let text = |millis| seconds(Duration::from_millis(millis));
        assert_eq!(
            [text(850), text(12340), text(245_000), text(7_380_000)],
            ["0.85 s", "12.3 s", "4 min 05 s", "2 h 03 min"]
        );
    }

    #[test]
    fn an_adapter_is_reported_in_the_words_of_peft() {
        let report = AdapterReport {
            name: "default".to_string(),
            active: true,
            lora: Some(LoraReport { kind: "LoRA", rank: 8, alpha: 16.0, dropout: 0.0, modules: 252 }),
            trainable_parameters: 14_966_784,
            all_parameters: 3_769_589_760,
            step: 0,
        };
        assert_eq!(
            adapter(&report),
            "adapter `default` is on: rank 8, alpha 16, dropout 0, 252 layers\n\
             trainable params: 14,966,784 || all params: 3,769,589,760 || trainable%: 0.3970"
        );
    }

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrap("one two three four", 2, 9), "one two\n  three\n  four");
        assert_eq!(wrap("  key  does this and that", 7, 16), "  key  does this\n       and that");
        assert_eq!(wrap("unbreakable", 2, 5), "unbreakable");
    }

    #[test]
    fn a_table_fits_the_page() {
        let table = Table {
            headers: vec!["a", "b"],
            rows: vec![vec!["x".to_string(), "many words ".repeat(20)]],
            ..Table::default()
        };
        let text = draw_table(&table, Page { width: 50, color: false });
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 50), "{text}");
    }
}
