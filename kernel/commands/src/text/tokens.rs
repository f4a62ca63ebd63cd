//! Tokens by their probability: coloured, and as tables with what else they could have been.

use tunebook_engine::report::LabelScores;
use tunebook_engine::report::LikelyToken;
use tunebook_engine::report::SampleReport;
use tunebook_engine::report::ScoredToken;

use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::page::Page;
use crate::printable::colourless;
use crate::text::data::sample_title;
use crate::text::table::draw_table;

/// The least probability of each colour but the last, which is for what is below.
const LEVELS: [f64; 4] = [0.9, 0.5, 0.1, 0.01];
/// Colours of a terminal, by level: green, cyan, yellow, magenta, red.
const COLOURS: [&str; 5] = ["32", "36", "33", "35", "31"];
/// So many of the least likely labels are named.
const NAMED: usize = 3;

/// The colour of a token, as a number: 0 from 90 % on, 1 from 50 %, 2 from 10 %, 3 from 1 % on, and 4.
pub fn level(token: &ScoredToken) -> usize {
    LEVELS.iter().position(|least| token.probability() >= *least).unwrap_or(LEVELS.len())
}

/// What each level stands for, the likeliest first.
pub fn levels() -> [&'static str; 5] {
    ["≥ 90 %", "≥ 50 %", "≥ 10 %", "≥ 1 %", "< 1 %"]
}

/// A probability, with as many digits as say something.
pub fn percent(probability: f64) -> String {
    let percent = 100.0 * probability;
    match percent {
        _ if percent >= 0.995 => format!("{percent:.1} %"),
        _ if percent >= 0.01 => format!("{percent:.2} %"),
        _ => "< 0.01 %".to_string(),
    }
}

/// A token's own text with its blanks to be seen.
pub fn visible(text: &str) -> String {
    text.replace(' ', "␣").replace('\n', "⏎").replace('\t', "⇥")
}

/// What a token adds to the text, to be seen in any case: a part of a character is a dot.
pub fn piece(token: &ScoredToken) -> String {
    if token.piece.is_empty() { "·".to_string() } else { token.piece.replace('\n', "⏎\n") }
}

/// Tokens one after another, each in the colour of its probability.
pub(super) fn coloured(tokens: &[ScoredToken], page: Page) -> String {
    let coloured = |token: &ScoredToken| {
        let text = piece(token);
        // A colour ends with its line.
        let lines = text.split('\n').map(|line| match line {
            "" => String::new(),
            line => page.styled(COLOURS[level(token)], &colourless(line)),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    tokens.iter().map(coloured).collect::<String>().trim_end().to_string()
}

/// What the colours mean.
pub(super) fn legend(page: Page) -> String {
    let levels: Vec<_> = COLOURS.iter().zip(levels()).map(|(colour, text)| page.styled(colour, text)).collect();
    let probability = localized("probability", "概率").in_lang(page.lang);
    format!("{} {}", page.faint(probability), levels.join(&page.faint(" · ")))
}

/// Mean and sum of the losses of a sample's labels, and the least likely of them.
pub fn summary(scores: &LabelScores, lang: Lang) -> String {
    let (name, mean, sum) = (&scores.name, scores.mean(), scores.sum());
    let mut least: Vec<&ScoredToken> = scores.labels.iter().filter(|label| level(label) > 1).collect();
    least.sort_by(|a, b| b.loss.total_cmp(&a.loss));
    let named: Vec<_> = least.iter().take(NAMED).map(|label| named(label, lang)).collect();
    let named = match named.join(localized(", ", "、").in_lang(lang)) {
        none if none.is_empty() => String::new(),
        named => localized!(lang, "; least likely {named}", "；概率最低的是 {named}"),
    };
    localized!(
        lang,
        "{name}: mean loss {mean:.4}, sum {sum:.4}{named}",
        "{name}：平均损失 {mean:.4}，总和 {sum:.4}{named}"
    )
}

fn named(label: &ScoredToken, lang: Lang) -> String {
    let (text, probability, rank) = (visible(&label.text), percent(label.probability()), label.rank);
    localized!(lang, "{text} ({probability}, rank {rank})", "{text}（{probability}，第 {rank} 位）")
}

/// The labels of a sample, a row each, with the likeliest tokens under the adapter and under the base model.
pub(crate) fn sample_table(report: &SampleReport, lang: Lang) -> Table {
    const LOSS: Localized = localized("loss", "损失");
    const RANK: Localized = localized("rank", "排名");
    const LIKELIEST: Localized = localized("likeliest", "概率最高的");
    let own = [localized("place", "位置"), localized("token", "token"), LOSS, RANK, LIKELIEST];
    let of_base = [localized("base", "基础模型"), RANK, LIKELIEST];
    let base = report.scores.get(1);
    let headers = own.into_iter().chain(of_base.into_iter().filter(|_| base.is_some()));
    let cells = |label: &ScoredToken| {
        let likeliest = label.likeliest.iter().map(likely).collect::<Vec<_>>().join(" · ");
        [format!("{:.4}", label.loss), label.rank.to_string(), likeliest]
    };
    let row = |(at, label): (usize, &ScoredToken)| {
        let of_base = base.and_then(|base| base.labels.get(at)).map(cells);
        let own = [label.place.to_string(), visible(&label.text)];
        own.into_iter().chain(cells(label)).chain(of_base.into_iter().flatten()).collect()
    };
    let labels = report.scores.first().map(|scores| scores.labels.as_slice()).unwrap_or_default();
    let summaries = report.scores.iter().map(|scores| summary(scores, lang));
    Table {
        title: sample_title(report, lang),
        headers: headers.map(|header| header.in_lang(lang)).collect(),
        rows: labels.iter().enumerate().map(row).collect(),
        note: summaries.collect::<Vec<_>>().join("\n"),
    }
}

/// An answer's tokens, where there are colours in theirs, and as a table with what else they could have been.
pub(super) fn alternatives(tokens: &[ScoredToken], page: Page) -> String {
    let coloured = page.color.then(|| format!("{}\n{}\n", coloured(tokens, page), legend(page)));
    coloured.unwrap_or_default() + &draw_table(&answer_table(tokens, page.lang), page)
}

/// The tokens of an answer, a row each.
fn answer_table(tokens: &[ScoredToken], lang: Lang) -> Table {
    let headers = [
        localized("token", "token"),
        localized("probability", "概率"),
        localized("rank", "排名"),
        localized("others", "其他可能"),
    ];
    let row = |token: &ScoredToken| {
        let others = token.others().map(likely).collect::<Vec<_>>().join(" · ");
        vec![visible(&token.text), percent(token.probability()), token.rank.to_string(), others]
    };
    Table {
        title: String::new(),
        headers: headers.map(|header| header.in_lang(lang)).to_vec(),
        rows: tokens.iter().map(row).collect(),
        note: about_probabilities(lang).to_string(),
    }
}

/// Which probabilities an answer's are.
pub fn about_probabilities(lang: Lang) -> &'static str {
    localized(
        "probabilities at temperature 1, before repetition_penalty, top_k and top_p",
        "概率按 temperature 为 1 计算，未经 repetition_penalty、top_k 和 top_p 处理",
    )
    .in_lang(lang)
}

/// `␣cat 88.4 %`
pub fn likely(token: &LikelyToken) -> String {
    format!("{} {}", visible(&token.text), percent(token.probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(piece: &str, probability: f64) -> ScoredToken {
        let likely = |id: u32, text: &str, probability| LikelyToken { id, text: text.to_string(), probability };
        ScoredToken {
            place: 7,
            id: 1,
            text: piece.to_string(),
            piece: piece.to_string(),
            loss: -f64::ln(probability),
            rank: 2,
            likeliest: vec![likely(2, "\n", 0.6), likely(1, piece, probability)],
        }
    }

    #[test]
    fn levels_begin_at_their_probabilities_and_what_is_no_number_is_worst() {
        let found = [1.0, 0.91, 0.6, 0.2, 0.05, 0.001, f64::NAN].map(|p| level(&token("a", p)));
        assert_eq!(found, [0, 0, 1, 2, 3, 4, 4]);
        assert_eq!([0.99951, 0.031, 0.0042, 0.000001].map(percent), ["100.0 %", "3.1 %", "0.42 %", "< 0.01 %"]);
    }

    #[test]
    fn a_colour_ends_with_its_line_and_text_cannot_steer() {
        let page = Page { width: 80, color: true, lang: Lang::En };
        let text = coloured(&[token(" a\x1b[2J", 0.95), token("", 0.3), token("\n", 0.001), token("b", 0.6)], page);
        assert_eq!(text, "\x1b[32m a␛[2J\x1b[0m\x1b[33m·\x1b[0m\x1b[31m⏎\x1b[0m\n\x1b[36mb\x1b[0m");
        assert!(legend(page).contains("\x1b[31m< 1 %\x1b[0m"));
    }

    #[test]
    fn losses_are_summed_and_the_least_likely_labels_named() {
        let labels = vec![token(" cat", 0.25), token(".", 1.0), token(" dog", 0.125), token("!", 0.9)];
        let scores = LabelScores { name: "a".to_string(), labels };
        let sum = 4f64.ln() + 8f64.ln() - 0.9f64.ln();
        let expected = format!(
            "a: mean loss {:.4}, sum {sum:.4}; least likely ␣dog (12.5 %, rank 2), ␣cat (25.0 %, rank 2)",
            sum / 4.0
        );
        assert_eq!(summary(&scores, Lang::En), expected);
        assert!(summary(&scores, Lang::Zh).contains("总和"));
    }

    #[test]
    fn an_answers_table_lists_what_else_a_token_could_have_been() {
        let text = alternatives(&[token(" cat", 0.4)], Page { width: 80, color: false, lang: Lang::En });
        assert!(text.contains("␣cat") && text.contains("40.0 %") && text.contains("⏎ 60.0 %"), "{text}");
        assert!(!text.contains("␣cat 40.0 %"), "it is none of its alternatives: {text}");
    }
}
