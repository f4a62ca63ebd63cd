//! More about an answer than its text as HTML: its tokens, coloured by how likely they were, and what it rests on in its
//! pictures.

use tunebook_commands::Lang;
use tunebook_commands::text;
use tunebook_engine::report::ChatReport;

use super::escape::escape;
use super::regions::regions;
use super::tokens::legend;
use super::tokens::tokens;

/// The parts that were asked for, and how the answer came about.
pub fn answer(report: &ChatReport, lang: Lang) -> String {
    let how = |text: &str| format!("<p style=\"opacity:.7\">{}</p>", escape(text));
    let mut parts = String::new();
    if !report.tokens.is_empty() {
        parts += &tokens(&report.tokens, lang);
        parts += &legend(lang);
        parts += &how(text::about_probabilities(lang));
    }
    if !report.regions.is_empty() {
        parts += &regions(&report.regions, lang);
    }
    format!("<div>{parts}{}</div>", how(&text::answer(report, lang)))
}
