//! The answers of `predict` beside those that were expected, those that differ first; without a script, so that a saved
//! notebook can be searched and folded, too.

use tunebook_commands::Lang;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::output::Predicted;
use tunebook_commands::output::Table;
use tunebook_engine::report::Prediction;

use super::changes::changes;
use super::escape::escape;
use super::picture::small_picture;
use super::table::table;

/// Width and height of a picture at most, in pixels.
const PICTURE: u32 = 72;
/// So many answers of a kind are shown.
const MOST: usize = 40;

/// The mean scores, and in two lists, which can be folded, the answers that differ from what was expected and those that do
/// not.
pub fn predictions(made: &Predicted, scores: &Table, lang: Lang) -> String {
    let is_equal = |made: &&Prediction| made.predict.trim() == made.label.trim();
    let (equal, different): (Vec<_>, Vec<_>) = made.predictions.iter().partition(is_equal);
    let differ = localized("answers that differ from the label", "与标准答案不同的回答").in_lang(lang);
    let agree = localized("answers equal to the label", "与标准答案相同的回答").in_lang(lang);
    format!("<div>{}{}{}</div>", table(scores), list(differ, &different, true, lang), list(agree, &equal, false, lang),)
}

fn list(title: &str, made: &[&Prediction], is_open: bool, lang: Lang) -> String {
    if made.is_empty() {
        return String::new();
    }
    const NAMES: [[&str; 2]; 5] =
        [["sample", "样本"], ["image", "图片"], ["predicted", "预测"], ["expected", "标准答案"], ["", ""]];
    let names = NAMES.map(|[english, chinese]| localized(english, chinese).in_lang(lang));
    let head: String = names.iter().map(|name| format!("<th style=\"text-align:left\">{name}</th>")).collect();
    let rows: String = made.iter().take(MOST).map(|made| row(made, lang)).collect();
    let left = made.len().saturating_sub(MOST);
    let more = match left {
        0 => String::new(),
        _ => localized!(
            lang,
            "<p style=\"opacity:.7\">and {left} more</p>",
            "<p style=\"opacity:.7\">还有 {left} 个</p>"
        ),
    };
    let (open, count) = (if is_open { " open" } else { "" }, made.len());
    format!(
        "<details{open}><summary>{title} ({count})</summary><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>\
         </table>{more}</details>"
    )
}

fn row(made: &Prediction, lang: Lang) -> String {
    let pictures: String = made.images.iter().map(|path| small_picture(path, PICTURE, lang)).collect();
    let (bleu, rouge) = (made.scores.bleu_4, made.scores.rouge_l);
    const CELL: &str = "text-align:left;vertical-align:top;white-space:pre-wrap";
    format!(
        "<tr><td title=\"{}\" style=\"{CELL}\">{}</td><td style=\"{CELL}\">{pictures}</td>\
         <td style=\"{CELL}\">{}</td><td style=\"{CELL}\">{}</td>\
         <td style=\"{CELL};opacity:.75;white-space:nowrap\">bleu-4 {bleu:.1}\nrouge-l {rouge:.1}</td></tr>",
        escape(&made.prompt),
        made.index,
        changes(&made.label, &made.predict),
        changes(&made.predict, &made.label),
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use tunebook_engine::report::PredictReport;

    use super::*;

    #[test]
    fn what_differs_is_marked_and_comes_first() {
        let made = |index, predict: &str, label: &str| Prediction {
            index,
            total: 3,
            prompt: "<|im_start|>\"Who?\"".to_string(),
            predict: predict.to_string(),
            label: label.to_string(),
            images: vec![PathBuf::from("<gone>.png")],
            pictures: Vec::new(),
            scores: Default::default(),
        };
        let predictions = vec![made(0, "the same", "the same\n"), made(1, "a <b>red</b> fox", "a blue fox")];
        let report = PredictReport {
            samples: "creatures".to_string(),
            held_out: false,
            adapter: "base".to_string(),
            scores: Default::default(),
            done: 2,
            total: 3,
            left_out: Vec::new(),
            new_tokens: 9,
            cut: 0,
            elapsed: Duration::from_secs(1),
            folder: None,
        };
        let html = super::predictions(&Predicted { report, predictions }, &Table::default(), Lang::En);
        assert!(html.contains("<mark>blue</mark>") && html.contains("&lt;gone&gt;.png cannot be found"), "{html}");
        assert!(!html.contains("<b>red") && html.contains("title=\"&lt;|im_start|&gt;&quot;Who?&quot;\""), "{html}");
        let [different, equal] =
            ["differ from the label (1)", "equal to the label (1)"].map(|text| html.find(text).unwrap());
        assert!(different < equal && html.matches("<details open>").count() == 1, "{html}");
    }
}
