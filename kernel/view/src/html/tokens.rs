//! Tokens in the colours of their probabilities as HTML: hovering over one shows its numbers and what else was likely.
//!
//! It is all in `title` attributes, so it needs no script and stays in a saved notebook. The colours let the page's own
//! background through, light or dark, and tell blue from orange, which colour-blind readers can, too.

use tunebook_commands::Lang;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::text::level;
use tunebook_commands::text::levels;
use tunebook_commands::text::likely;
use tunebook_commands::text::percent;
use tunebook_commands::text::piece;
use tunebook_commands::text::visible;
use tunebook_engine::report::ScoredToken;

use super::escape::escape;

/// By level, the likeliest first.
const COLOURS: [&str; 5] = ["0,114,178,.35", "0,114,178,.16", "230,159,0,.22", "230,159,0,.5", "213,94,0,.65"];

/// Tokens one after another, line feeds kept.
pub(super) fn tokens(tokens: &[ScoredToken], lang: Lang) -> String {
    let spans: String = tokens.iter().map(|token| span(token, lang)).collect();
    format!(
        "<div style=\"white-space:pre-wrap;font-family:var(--jp-code-font-family, monospace);line-height:1.7\">\
         {spans}</div>"
    )
}

/// What the colours mean.
pub(super) fn legend(lang: Lang) -> String {
    let level = |(colour, text): (&&str, &str)| {
        format!("<span style=\"background:rgba({colour});padding:0 .4em\">{}</span>", escape(text))
    };
    let levels: String = COLOURS.iter().zip(levels()).map(level).collect();
    let probability = localized("probability", "概率").in_lang(lang);
    format!("<p style=\"opacity:.8\">{probability} {levels}</p>")
}

fn span(token: &ScoredToken, lang: Lang) -> String {
    format!(
        "<span title=\"{}\" style=\"background:rgba({})\">{}</span>",
        escape(&about(token, lang)).replace('\n', "&#10;"),
        COLOURS[level(token)],
        escape(&piece(token)),
    )
}

/// The numbers of a token, and in a line each what was likely in its place.
fn about(token: &ScoredToken, lang: Lang) -> String {
    let (text, probability) = (visible(&token.text), percent(token.probability()));
    let ScoredToken { loss, rank, .. } = token;
    let own = localized!(
        lang,
        "{text}\nprobability {probability}, loss {loss:.4}, rank {rank}",
        "{text}\n概率 {probability}，损失 {loss:.4}，第 {rank} 位"
    );
    let others = token.likeliest.iter().zip(1..).map(|(other, place)| format!("\n{place}. {}", likely(other)));
    own + &others.collect::<String>()
}

#[cfg(test)]
mod tests {
    use tunebook_engine::report::LikelyToken;

    use super::*;

    #[test]
    fn a_token_tells_its_numbers_and_the_likeliest_ones() {
        let likely = |id: u32, text: &str, probability| LikelyToken { id, text: text.to_string(), probability };
        let token = ScoredToken {
            place: 4,
            id: 9,
            text: " \"<b>".to_string(),
            piece: " \"<b>".to_string(),
            loss: 3.0,
            rank: 2,
            likeliest: vec![likely(3, " a", 0.93), likely(9, " \"<b>", 0.0498)],
        };
        let part = ScoredToken { piece: String::new(), loss: 0.01, ..token.clone() };
        let html = tokens(&[token, part], Lang::En);
        assert!(
            html.contains(
                "title=\"␣&quot;&lt;b&gt;&#10;probability 5.0 %, loss 3.0000, rank 2&#10;1. ␣a 93.0 %&#10;2. "
            )
        );
        assert!(html.contains("rgba(230,159,0,.5)\"> &quot;&lt;b&gt;</span>"), "{html}");
        assert!(html.contains("rgba(0,114,178,.35)\">·</span>"), "a part of a character is there to be pointed at");
        assert!(legend(Lang::Zh).contains("概率") && legend(Lang::En).contains("&lt; 1 %"));
    }
}
