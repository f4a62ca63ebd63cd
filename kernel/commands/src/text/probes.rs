//! Probes and how their answers change, as plain text.

use std::time::Duration;

use tunebook_engine::probes::Probe;
use tunebook_engine::probes::ProbeAnswer;
use tunebook_engine::probes::ProbeRecord;
use tunebook_engine::probes::known;
use unicode_width::UnicodeWidthStr;

use crate::changes::changed_words;
use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::output::Probes;
use crate::page::Page;
use crate::page::wrap;
use crate::printable::colourless;
use crate::quantities::ANSWER;
use crate::quantities::count;
use crate::quantities::seconds;

/// The answers after a step of a training, one below the other; what has changed since the time before is bright.
pub(super) fn probed(record: &ProbeRecord, page: Page) -> String {
    let (step, total, width) = (record.step, record.total_steps, record.total_steps.to_string().len());
    let line = |answer: &ProbeAnswer| {
        let number = answer.number;
        let head = localized!(
            page.lang,
            "step {step:>width$}/{total}  probe {number}  ",
            "步 {step:>width$}/{total}  探针 {number}  "
        );
        marked(&head, answer, page)
    };
    record.answers.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The probes, each with its answers by step if there are any.
pub(super) fn probes(Probes { probes, first, records }: &Probes, page: Page) -> String {
    let known = known(probes, records);
    if known.is_empty() {
        return none(page.lang).to_string();
    }
    let width = records.last().map_or(1, |last| last.step.to_string().len());
    let block = |(index, probe): (usize, &&Probe)| {
        let is_dropped = !probes.contains(probe);
        let number = if is_dropped { "-".to_string() } else { (first + index).to_string() };
        let files: String = probe.images.iter().map(|image| format!("  {}", image.display())).collect();
        let head = page.bright(&colourless(&format!("{number}  {}{files}", probe.question)));
        let answers = records.iter().filter_map(|record| {
            let answer = record.answers.iter().find(|answer| answer.probe == **probe)?;
            let step = record.step;
            let step = localized!(page.lang, "   step {step:>width$}  ", "   第 {step:>width$} 步  ");
            Some(marked(&step, answer, page))
        });
        std::iter::once(head).chain(answers).collect::<Vec<_>>().join("\n")
    };
    let cost = (!records.is_empty()).then(|| page.faint(&cost(records, page.lang)));
    known.iter().enumerate().map(block).chain(cost).collect::<Vec<_>>().join("\n")
}

/// An answer after `head`, in lines that fit the page.
fn marked(head: &str, answer: &ProbeAnswer, page: Page) -> String {
    let indent = head.width();
    let text = in_a_line(&answer.text);
    let text = if text.is_empty() { nothing_said(page.lang).to_string() } else { text };
    // Something as wide stands for the head, in which no line ends.
    let place = "x".repeat(indent);
    let wrapped = wrap(&format!("{place}{text}"), indent, page.width);
    let wrapped = &wrapped[place.len()..];
    match answer.before.as_deref().map(in_a_line).filter(|_| page.color) {
        Some(before) if before == text => page.faint(&format!("{head}{wrapped}")),
        Some(before) => {
            let words = changed_words(&before, wrapped).into_iter();
            head.to_string() + &words.map(|(changed, word)| paint(changed, word, page)).collect::<String>()
        }
        None => format!("{head}{wrapped}"),
    }
}

/// How long the answers took.
fn cost(records: &[ProbeRecord], lang: Lang) -> String {
    let answers = count(records.iter().map(|record| record.answers.len()).sum(), ANSWER, lang);
    let time = seconds(Duration::from_secs_f64(records.iter().map(|record| record.seconds).sum()), lang);
    localized!(lang, "{answers} in {time}", "{answers}，用时 {time}")
}

fn in_a_line(text: &str) -> String {
    colourless(text.trim_end()).replace('\n', " ")
}

fn paint(changed: bool, word: &str, page: Page) -> String {
    if changed && !word.trim().is_empty() { page.bright(word) } else { word.to_string() }
}

fn none(lang: Lang) -> &'static str {
    localized("there are no probes; `probe QUESTION` adds one", "还没有探针；用 `probe 问题` 添加").in_lang(lang)
}

fn nothing_said(lang: Lang) -> &'static str {
    localized("(nothing)", "（没有回答）").in_lang(lang)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Page = Page { width: 60, color: false, lang: Lang::En };

    fn record(step: usize, text: &str, before: Option<&str>) -> ProbeRecord {
        let probe = Probe { question: "What is this?".to_string(), images: vec!["a.png".into()] };
        let before = before.map(str::to_string);
        let answer = ProbeAnswer { number: 1, probe, text: text.to_string(), before, new_tokens: 3 };
        ProbeRecord { step, total_steps: 180, seconds: 0.5, answers: vec![answer] }
    }

    #[test]
    fn an_answer_is_a_line_and_what_has_changed_is_bright() {
        let first = record(0, "A yellow animal.\n", None);
        assert_eq!(probed(&first, PLAIN), "step   0/180  probe 1  A yellow animal.");
        let second = record(30, "A yellow Pikachu.", Some("A yellow animal.\n"));
        let coloured = Page { color: true, ..PLAIN };
        assert_eq!(probed(&second, coloured), "step  30/180  probe 1  A yellow \x1b[32mPikachu\x1b[0m.");
        let same = record(60, "A yellow Pikachu.", Some("A yellow Pikachu."));
        assert!(probed(&same, coloured).starts_with("\x1b[2m"));
    }

    #[test]
    fn probes_are_listed_with_their_answers_by_step() {
        let records = vec![record(0, "A yellow animal.", None), record(30, "", Some("A yellow animal."))];
        let probes_of = |list: Vec<Probe>| Probes { probes: list, first: 1, records: records.clone() };
        let list = vec![records[0].answers[0].probe.clone()];
        let text = "1  What is this?  a.png\n   step  0  A yellow animal.\n   step 30  (nothing)\n2 answers in 1.00 s";
        assert_eq!(probes(&probes_of(list), PLAIN), text);
        assert!(probes(&probes_of(Vec::new()), PLAIN).starts_with("-  What is this?"), "a dropped one");
        assert!(
            probes(&Probes { probes: Vec::new(), first: 1, records: Vec::new() }, PLAIN)
                .starts_with("there are no probes")
        );
    }
}
