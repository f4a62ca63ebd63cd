//! What the user should know that is no answer.

use super::escape::escape;

/// A sentence; words in backquotes are code, as in Markdown.
pub fn aside(text: &str) -> String {
    let escaped = escape(text);
    let mut parts = escaped.split('`');
    let mut sentence = parts.next().unwrap_or_default().to_string();
    let mut is_code = true;
    for part in parts {
        sentence += &if is_code { format!("<code>{part}</code>") } else { part.to_string() };
        is_code = !is_code;
    }
    // A frontend's own style may break lines within words.
    format!(
        "<div style=\"opacity:.8;white-space:pre-line;word-break:normal;overflow-wrap:break-word\">{sentence}</div>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_words_and_nothing_is_markup() {
        let html = aside("the loss rises: `learning_rate=1e-4` <b>");
        assert!(html.ends_with(">the loss rises: <code>learning_rate=1e-4</code> &lt;b&gt;</div>"), "{html}");
        assert!(aside("a ` alone").contains("a <code> alone</code></div>"));
    }
}
