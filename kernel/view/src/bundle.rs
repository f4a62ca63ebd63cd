//! Outputs in every form that a notebook or a page may want, plain text always among them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use tunebook_commands::Lang;
use tunebook_commands::Output;
use tunebook_commands::colourless;
use tunebook_commands::localized;
use tunebook_commands::output::Plot;
use tunebook_commands::output::Probes;
use tunebook_commands::page;
use tunebook_commands::text;
use tunebook_engine::output::plot::Curve;
use tunebook_engine::output::plot::Figure;

use crate::html;
use crate::view::View;

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
    match View::of(output, lang) {
        View::Series(plot) => {
            data["text/html"] = json!(html::curve(plot, lang));
            // For paper: of an SVG beside it, nbconvert would ask Inkscape all the same. If it cannot be drawn, the others are
            // there.
            if let Ok(png) = png(plot) {
                data["image/png"] = json!(STANDARD.encode(png));
            }
        }
        View::Overlay(overlay) => {
            data["text/html"] = json!(html::overlay(overlay, lang));
            if let Ok(png) = overlay.figure().png() {
                data["image/png"] = json!(STANDARD.encode(png));
            }
        }
        View::RangeTest(report) => data["text/html"] = json!(html::range_test(report, lang)),
        View::Sweep(report) => data["text/html"] = json!(html::sweep(report, lang)),
        View::Media(contents) => {
            for (kind, content) in contents {
                if kind == "image/svg+xml" {
                    data["text/html"] = json!(html::foreign_drawing(content, lang));
                    continue;
                }
                let parsed = if kind.ends_with("json") { serde_json::from_str(content).ok() } else { None };
                data[kind] = parsed.unwrap_or_else(|| json!(content));
            }
        }
        View::Picture(path) => {
            let name = path.display().to_string();
            let name = colourless(&name);
            data["text/plain"] = json!(localized!(lang, "image {name}", "图片 {name}"));
            data["text/html"] = json!(html::picture(path, lang));
        }
        View::Comparison(report) => data["text/html"] = json!(html::comparison(report, lang)),
        View::Probes(Probes { probes, records, .. }) => {
            data["text/html"] = json!(html::probes(probes, records, lang));
        }
        View::DetailedAnswer(report) => {
            data["text/html"] = json!(html::answer(report, lang) + &html::boxed(&report.pictures, lang))
        }
        View::Worst(report) => data["text/html"] = json!(html::worst(report, lang)),
        View::Sample(report) => data["text/html"] = json!(html::sample(report, lang)),
        View::Table(table) => data["text/html"] = json!(html::table(&table)),
        View::Data(report, table) => data["text/html"] = json!(html::data(report, &table, lang)),
        View::Predictions(made, table) => data["text/html"] = json!(html::predictions(made, &table, lang)),
        View::Prediction(pictures) => {
            data["text/html"] = json!(html::report(&line(output, lang)) + &html::boxed(pictures, lang));
        }
        View::Answer(pictures) if !pictures.is_empty() => {
            // What there is to say was streamed.
            let names: Vec<_> = pictures.iter().map(|picture| picture.path.display().to_string()).collect();
            let names = names.join(", ");
            let names = colourless(&names);
            data["text/plain"] = json!(localized!(lang, "image {names}, with boxes", "图片 {names}，带边界框"));
            data["text/html"] = json!(html::boxed(pictures, lang));
        }
        // Text alone.
        View::Answer(_) => {}
        View::Aside(text) => data["text/html"] = json!(html::aside(text)),
        View::Report | View::Trained(_) => data["text/html"] = json!(html::report(&line(output, lang))),
        View::Stdout(_) | View::Stderr(_) | View::Written { .. } | View::Log => {}
        View::Nothing | View::Clear | View::Conversation | View::Panel | View::Quit => {}
    }
    data
}

fn png(plot: &Plot) -> tunebook_engine::Result<Vec<u8>> {
    let curve = |label, opacity, values: &[f64]| {
        let points = plot.steps.iter().copied().zip(values.iter().copied()).collect();
        Curve { label: String::from(label), colour: 0, opacity, has_dots: false, points }
    };
    let curves = match plot.smoothed.is_empty() {
        true => vec![curve("original", 1.0, &plot.values)],
        false => vec![curve("original", 0.4, &plot.values), curve("smoothed", 1.0, &plot.smoothed)],
    };
    let (x_label, y_label) = ("step".to_string(), plot.name.to_string());
    let title = format!("training {}", plot.name);
    let figure = Figure { title, x_label, y_label, is_x_logarithmic: false, curves };
    figure.with_evaluations(plot.evaluations.clone()).png()
}

#[cfg(test)]
mod tests {
    use tunebook_commands::output::Table;

    use super::*;

    #[test]
    fn a_table_is_html_and_text() {
        let table = Table { headers: vec!["verb"], rows: vec![vec!["a<b".to_string()]], ..Table::default() };
        let bundle = bundle(&Output::Table(table), Lang::En);
        assert!(bundle["text/html"].as_str().unwrap().contains(">a&lt;b</td>"));
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
        assert!(bundle["text/html"].as_str().unwrap().starts_with("<img src=\"data:image/svg+xml;base64,"));
        assert!(bundle.get("image/svg+xml").is_none());
        assert!(bundle["text/plain"].as_str().unwrap().contains("step 2"));
    }
}
