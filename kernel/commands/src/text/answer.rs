//! How an answer came about.

use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ChatReport;

use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::quantities::TOKEN;
use crate::quantities::count;
use crate::quantities::seconds;
use crate::quantities::thousands;

/// How an answer came about.
pub fn answer(report: &ChatReport, lang: Lang) -> String {
    let end = match report.end {
        AnswerEnd::EndOfTurn => localized("", ""),
        AnswerEnd::MaxNewTokens => localized("; stopped at max_new_tokens", "；达到 max_new_tokens"),
        AnswerEnd::Interrupted => localized("; stopped", "；已停止"),
    };
    let known = match report.cached_tokens {
        0 => String::new(),
        tokens => {
            let tokens = thousands(tokens);
            localized!(lang, " ({tokens} cached)", "（{tokens} 个已缓存）")
        }
    };
    let first = report.first_token.map(|first| seconds(first, lang));
    let first = first
        .map(|first| localized!(lang, ", first token after {first}", "，首个 token 用时 {first}"))
        .unwrap_or_default();
    let drafts = match report.drafted_tokens {
        0 => String::new(),
        drafted => {
            let accepted = report.accepted_tokens;
            localized!(
                lang,
                ", {accepted} of {drafted} drafted tokens accepted",
                "，草拟的 {drafted} 个 token 采纳了 {accepted} 个"
            )
        }
    };
    let rate = report.new_tokens as f64 / report.elapsed.as_secs_f64().max(1e-9);
    let (tokens, prompt) = (count(report.new_tokens, TOKEN, lang), thousands(report.prompt_tokens));
    let (time, end) = (seconds(report.elapsed, lang), end.in_lang(lang));
    localized!(
        lang,
        "[prompt {prompt} tokens{known}, answer {tokens} in {time}{first}, {rate:.1} tokens/s{drafts}{end}]",
        "[提示词 {prompt} 个 token{known}，回答 {tokens}，用时 {time}{first}，{rate:.1} token/秒{drafts}{end}]"
    )
}
