//! What a sweep and a range test have found: curves, and what they say.

use tunebook_commands::Lang;
use tunebook_commands::sweep::RangeReport;
use tunebook_commands::sweep::SweepReport;
use tunebook_commands::text::range_note;
use tunebook_commands::text::sweep_table;

use super::escape::escape;
use super::overlay::overlay;
use super::table::table;

/// The curves of all trials over a table of them.
pub fn sweep(report: &SweepReport, lang: Lang) -> String {
    format!("<div>{}{}</div>", overlay(&report.curves, lang), table(&sweep_table(report, lang)))
}

/// The loss over the learning rate, and which rate to take.
pub fn range_test(report: &RangeReport, lang: Lang) -> String {
    let lines: String = range_note(report, lang).lines().map(|line| format!("<div>{}</div>", escape(line))).collect();
    format!("<div>{}{lines}</div>", overlay(&report.curve, lang))
}
