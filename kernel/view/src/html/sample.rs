//! An encoded sample as HTML: pictures under the grid of their tokens, text coloured by what is learned, and what is learned
//! coloured by how likely it is.

use tunebook_commands::Lang;
use tunebook_commands::text::listed;
use tunebook_commands::text::patches;
use tunebook_commands::text::sample_counts;
use tunebook_commands::text::sample_title;
use tunebook_commands::text::scores_summary;
use tunebook_engine::report::LabelScores;
use tunebook_engine::report::PictureReport;
use tunebook_engine::report::SampleReport;
use tunebook_engine::report::TokenReport;

use super::CARD;
use super::boxes::overlay;
use super::escape::escape;
use super::picture::under;
use super::tokens::legend;
use super::tokens::tokens;

/// A picture is shown no larger.
const LARGEST: usize = 420;
/// Every other token a shade darker, so that one sees where they end.
const SHADES: [&str; 2] = [".10", ".20"];
const LEARNED_SHADES: [&str; 2] = [".28", ".45"];

/// The sample, with a legend.
pub fn sample(report: &SampleReport, lang: Lang) -> String {
    let pictures: String = report.pictures.iter().map(|report| picture(report, lang)).collect();
    let all: String = report.tokens.iter().enumerate().map(|(place, token)| span(place, token)).collect();
    let (count, learned) = sample_counts(report, lang);
    let scores: String = report.scores.iter().map(|scores| scored(scores, lang)).collect();
    let legend = if scores.is_empty() { String::new() } else { legend(lang) };
    format!(
        "<div style=\"{CARD}\"><p>{} · {count}, <span style=\"{}\">{learned}</span></p>\
         <div style=\"display:flex;gap:12px;flex-wrap:wrap\">{pictures}</div>\
         <div style=\"white-space:pre-wrap;font-family:var(--jp-code-font-family, monospace);line-height:1.7\">\
         {all}</div>{scores}{legend}</div>",
        escape(&sample_title(report, lang)),
        style(true, 1),
    )
}

/// The labels under an adapter or the base model, below their losses.
fn scored(scores: &LabelScores, lang: Lang) -> String {
    format!("<p>{}</p>{}", escape(&scores_summary(scores, lang)), tokens(&scores.labels, lang))
}

fn span(place: usize, token: &TokenReport) -> String {
    let text = match token.count {
        1 => escape(&token.text),
        count => format!("{} × {count}", escape(&token.text)),
    };
    format!("<span title=\"{}\" style=\"{}\">{text}</span>", token.id, style(token.supervised, place % 2))
}

fn style(learned: bool, shade: usize) -> String {
    match learned {
        true => format!("background:rgba(46,160,67,{})", LEARNED_SHADES[shade]),
        false => format!("background:rgba(128,128,128,{})", SHADES[shade]),
    }
}

/// The picture in the proportions in which the model sees it, one cell a token.
fn picture(report: &PictureReport, lang: Lang) -> String {
    let (width, height) = (report.grid_w * report.patch, report.grid_h * report.patch);
    let scale = (LARGEST as f64 / width.max(height).max(1) as f64).min(1.0);
    let (shown_w, shown_h) = (width as f64 * scale, height as f64 * scale);
    let merge = ((report.grid_w * report.grid_h) as f64 / report.tokens.max(1) as f64).sqrt();
    let cell = merge * report.patch as f64 * scale;
    let caption = patches(report, lang);
    let shown = [shown_w, shown_h];
    let over = grid(shown, cell) + &overlay(report.width, report.height, shown.map(f64::round), &[(&report.boxes, "")]);
    let about = if report.boxes.is_empty() { caption.clone() } else { listed(&report.boxes, lang) };
    let picture = under(&report.path, shown, &over, &about, lang);
    format!("<figure style=\"margin:0\">{picture}<figcaption style=\"opacity:.7\">{caption}</figcaption></figure>")
}

/// Lines between cells of so many pixels: white and black beside each other, so that they are seen on any picture.
fn grid([width, height]: [f64; 2], cell: f64) -> String {
    let lines = |from: f64| -> String {
        let places = |length: f64| (1..=(length / cell).round() as usize).map(move |k| k as f64 * cell - from);
        let columns = places(width).map(|x| format!("M{x:.2} 0V{height:.0}"));
        columns.chain(places(height).map(|y| format!("M0 {y:.2}H{width:.0}"))).collect()
    };
    format!(
        "<path d=\"{}\" stroke=\"#fff\" stroke-opacity=\".75\"/><path d=\"{}\" stroke=\"#000\" stroke-opacity=\".45\"/>",
        lines(1.5),
        lines(0.5),
    )
}

#[cfg(test)]
mod tests {
    use tunebook_engine::report::DrawnBox;

    use super::*;
    use crate::html::drawing::drawn_in;

    #[test]
    fn tokens_and_pictures_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::RgbImage::new(56, 28).save(&path).unwrap();
        let token = |text: &str, supervised, count| TokenReport { id: 7, text: text.to_string(), supervised, count };
        let picture = PictureReport {
            path,
            grid_h: 2,
            grid_w: 4,
            patch: 14,
            tokens: 2,
            width: 112,
            height: 56,
            boxes: vec![DrawnBox { label: Some("eye".to_string()), corners: [20, 10, 60, 50] }],
        };
        let gone = PictureReport { path: folder.path().join("b.png"), ..picture.clone() };
        let html = sample(
            &SampleReport {
                index: 0,
                samples: 3,
                origin: "creatures[0]".to_string(),
                tokens: vec![token("<|image_pad|>", false, 2), token("a cat", true, 1)],
                pictures: vec![picture, gone],
                scores: vec![LabelScores { name: "default".to_string(), labels: Vec::new() }],
            },
            Lang::En,
        );
        assert!(html.contains("&lt;|image_pad|&gt; × 2"));
        assert!(html.contains("rgba(46,160,67,.45)\">a cat</span>"), "{html}");
        assert!(html.contains("b.png cannot be found") && html.contains("a.png: eye [20, 10, 60, 50]\""), "{html}");
        assert!(html.contains("<p>default: mean loss 0.0000, sum 0.0000</p>"), "{html}");
        let svg = drawn_in(&html);
        assert!(svg.contains("width=\"56\" height=\"28\"") && svg.contains("data:image/jpeg;base64,/9j/"), "{svg}");
        assert!(svg.contains("M27.50 0V28M55.50 0V28M0 27.50H56\" stroke=\"#000\""), "{svg}");
        // Half as large as in the file.
        assert!(
            svg.contains("<rect x=\"10.0\" y=\"5.0\" width=\"20.0\" height=\"20.0\"") && svg.contains(">eye</text>")
        );
        assert!(html.contains("3 tokens") && html.contains(">1 supervised<"));
    }
}
