//! Outputs in every form that a notebook may want, plain text always among them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use tunebook_commands::Lang;
use tunebook_commands::Output;
use tunebook_commands::colourless;
use tunebook_commands::localized;
use tunebook_commands::output::Plot;
use tunebook_commands::output::Table;
use tunebook_commands::page;
use tunebook_commands::text;
use tunebook_engine::output::plot::Curve;
use tunebook_engine::output::plot::Figure;

use crate::comparison;
use crate::curve;
use crate::picture;
use crate::sample;

/// Plain text in a notebook is as wide as its column.
const WIDTH: usize = 88;

/// `output` as plain text, without escapes, which a saved notebook would keep.
pub fn text(output: &Output, lang: Lang) -> String {
    colourless(&text::render(output, page::Page { width: WIDTH, color: false, lang })).into_owned()
}

/// The same for a place that breaks lines itself.
pub fn line(output: &Output, lang: Lang) -> String {
    text::render(output, page::Page { width: usize::MAX, color: false, lang })
}

/// `output` by media type.
pub fn bundle(output: &Output, lang: Lang) -> Value {
    let mut data = json!({"text/plain": text(output, lang)});
    match output {
        Output::Plot(plot) => {
            data["image/svg+xml"] =
                json!(curve::svg(plot.name, &plot.steps, &plot.values, &plot.smoothed, &plot.evaluations,));
            // For notebooks that are not trusted, and for paper. If it cannot be drawn, the others are there.
            if let Ok(png) = png(plot) {
                data["image/png"] = json!(STANDARD.encode(png));
            }
        }
        Output::Display(contents) => {
            for (kind, content) in contents {
                let parsed = if kind.ends_with("json") { serde_json::from_str(content).ok() } else { None };
                data[kind] = parsed.unwrap_or_else(|| json!(content));
            }
        }
        Output::Picture(path) => {
            let name = path.display().to_string();
            let name = colourless(&name);
            data["text/plain"] = json!(localized!(lang, "picture {name}", "图片 {name}"));
            data["text/html"] = json!(picture::html(path, lang));
        }
        Output::Compared(report) => data["text/html"] = json!(comparison::html(report, lang)),
        Output::Sample(report) => data["text/html"] = json!(sample::html(report, lang)),
        output => {
            if let Some(table) = text::table(output, lang) {
                data["text/html"] = json!(html_table(&table));
            }
        }
    }
    data
}

/// `text` with what HTML would read as markup escaped.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn png(plot: &Plot) -> tunebook_engine::Result<Vec<u8>> {
    let curve = |label, opacity, values: &[f64]| {
        let points = plot.steps.iter().copied().zip(values.iter().copied()).collect();
        Curve { label, colour: 0, opacity, points }
    };
    let curves = match plot.smoothed.is_empty() {
        true => vec![curve("original", 1.0, &plot.values)],
        false => vec![curve("original", 0.4, &plot.values), curve("smoothed", 1.0, &plot.smoothed)],
    };
    let title = format!("training {}", plot.name);
    let figure = Figure { title, x_label: "step".to_string(), y_label: plot.name.to_string(), curves };
    figure.with_evaluations(plot.evaluations.clone()).png()
}

/// A table in the page's own style.
fn html_table(table: &Table) -> String {
    let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        let cells: String =
            cells.map(|cell| format!("<{tag} style=\"text-align:left\">{}</{tag}>", escape(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let head = row("th", &mut table.headers.iter().copied());
    let body: String = table.rows.iter().map(|cells| row("td", &mut cells.iter().map(String::as_str))).collect();
    let title = match table.title.as_str() {
        "" => String::new(),
        title => format!("<caption style=\"text-align:left;white-space:nowrap\">{}</caption>", escape(title)),
    };
    let note = match table.note.as_str() {
        "" => String::new(),
        note => format!("<p style=\"opacity:.7\">{}</p>", escape(note)),
    };
    format!("<table>{title}<thead>{head}</thead><tbody>{body}</tbody></table>{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_html_and_text() {
        let table = Table {
            headers: vec!["verb", "does"],
            rows: vec![vec!["a<b".to_string(), "x & \"y\"".to_string()]],
            ..Table::default()
        };
        let bundle = bundle(&Output::Table(table), Lang::En);
        let html = bundle["text/html"].as_str().unwrap();
        assert!(html.contains(">verb</th>") && html.contains(">a&lt;b</td>") && html.contains("&amp; &quot;y&quot;"));
        assert!(bundle["text/plain"].as_str().unwrap().contains("a<b"));
    }

    #[test]
    fn a_plot_has_every_form() {
        let plot = Plot {
            name: "loss",
            steps: vec![1.0, 2.0],
            values: vec![3.0, 1.0],
            smoothed: vec![3.0, 2.0],
            evaluations: vec![(2.0, 1.5)],
            file: None,
        };
        let bundle = bundle(&Output::Plot(plot), Lang::En);
        let png = STANDARD.decode(bundle["image/png"].as_str().unwrap()).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        assert!(bundle["image/svg+xml"].as_str().unwrap().contains("eval_loss</text><polyline"));
        assert!(bundle["text/plain"].as_str().unwrap().contains("step 2"));
    }
}
