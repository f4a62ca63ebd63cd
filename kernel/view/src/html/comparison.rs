//! One question and several answers as HTML: the pictures, and the answers side by side.

use tunebook_commands::Lang;
use tunebook_commands::text;
use tunebook_engine::report::CompareReport;

use super::boxes::boxed;
use super::changes::changes;
use super::escape::escape;
use super::picture::picture;

const LEFT: &str = "text-align:left;vertical-align:top";

/// The pictures in a row, the question, a column for each answer; words are marked that the first answer has not.
pub fn comparison(report: &CompareReport, lang: Lang) -> String {
    let pictures: String = report.images.iter().map(|path| picture(path, lang)).collect();
    let answers = || report.answers.iter();
    let names = row("th", "", &mut answers().map(|answer| answer.name.clone()));
    let first = report.answers.first().map_or("", |answer| &answer.report.text);
    let texts: String = answers()
        .enumerate()
        .map(|(place, answer)| match place {
            0 => escape(first.trim_end()),
            _ => changes(first, &answer.report.text),
        })
        .map(|text| format!("<td style=\"{LEFT};white-space:pre-wrap\">{text}</td>"))
        .collect();
    let drawn: Vec<_> = answers().map(|answer| answer.report.pictures.as_slice()).collect();
    let boxes: String =
        drawn.iter().map(|pictures| format!("<td style=\"{LEFT}\">{}</td>", boxed(pictures, lang))).collect();
    let boxes =
        if drawn.iter().all(|pictures| pictures.is_empty()) { String::new() } else { format!("<tr>{boxes}</tr>") };
    let ends = row("td", "opacity:.7", &mut answers().map(|answer| text::answer(&answer.report, lang)));
    format!(
        "<div><div style=\"display:flex;gap:12px;flex-wrap:wrap\">{pictures}</div><p>{}</p>\
         <table><thead>{names}</thead><tbody><tr>{texts}</tr>{boxes}{ends}</tbody></table></div>",
        escape(&report.question)
    )
}

/// The answers so far, each with the name of its adapter.
pub fn answers(answers: &[(String, String)]) -> String {
    let names = row("th", "", &mut answers.iter().map(|(name, _)| name.clone()));
    let texts = row("td", "white-space:pre-wrap", &mut answers.iter().map(|(_, text)| text.clone()));
    format!("<table><thead>{names}</thead><tbody>{texts}</tbody></table>")
}

fn row(tag: &str, style: &str, cells: &mut dyn Iterator<Item = String>) -> String {
    let cells: String =
        cells.map(|cell| format!("<{tag} style=\"{LEFT};{style}\">{}</{tag}>", escape(&cell))).collect();
    format!("<tr>{cells}</tr>")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tunebook_engine::report::AnswerEnd;
    use tunebook_engine::report::ChatReport;
    use tunebook_engine::report::ComparedAnswer;

    use super::*;

    #[test]
    fn answers_stand_side_by_side_under_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::RgbImage::new(560, 280).save(&path).unwrap();
        let answer = |name: &str, text: &str| ComparedAnswer {
            name: name.to_string(),
            report: ChatReport {
                text: text.to_string(),
                pictures: Vec::new(),
                end: AnswerEnd::EndOfTurn,
                prompt_tokens: 9,
                cached_tokens: 0,
                drafted_tokens: 0,
                accepted_tokens: 0,
                tokens: Vec::new(),
                token_ids: Vec::new(),
                regions: Vec::new(),
                new_tokens: 3,
                first_token: None,
                elapsed: Duration::from_secs(1),
            },
        };
        let html = comparison(
            &CompareReport {
                question: "1 < 2?".to_string(),
                images: vec![path, folder.path().join("gone.png")],
                answers: vec![answer("base", "No."), answer("default", "<b>Yes.</b>\n")],
                asked: 2,
            },
            Lang::En,
        );
        assert!(html.contains("data:image/jpeg;base64,/9j/") && html.contains("gone.png cannot be found"));
        assert!(html.contains("<p>1 &lt; 2?</p>"));
        let base = html.find(">No.</td>").unwrap();
        let tuned = html.find(">&lt;<mark>b</mark>&gt;").or_else(|| html.find("<mark>Yes</mark>")).unwrap();
        assert!(!html.contains("<b>Yes"), "{html}");
        assert!(html.find(">base</th>").unwrap() < base && base < tuned, "{html}");
    }

    #[test]
    fn what_is_answered_so_far_is_escaped() {
        assert!(answers(&[("base".to_string(), "A <cat>".to_string())]).contains("A &lt;cat&gt;</td>"));
    }
}
