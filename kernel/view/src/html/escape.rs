//! Text inside HTML.

/// Text in lines and columns as they are. The page breaks those that are too long for it, between words, whatever its own
/// style says.
pub fn report(text: &str) -> String {
    format!(
        "<div style=\"font-family:var(--jp-code-font-family, monospace);font-size:var(--jp-code-font-size, 13px);\
         white-space:pre-wrap;word-break:normal;overflow-wrap:break-word\">{}</div>",
        escape(text)
    )
}

/// `text` with what HTML would read as markup escaped; it may also stand in an attribute between double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
