//! Text from outside within Markdown, shown as it is: neither its marks nor tags of HTML in it mean anything.

/// In a paragraph or a cell of a table. Line breaks become `<br>`. Marks become entities, which every dialect reads.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' => escaped.push_str("<br>"),
            '&' | '<' | '>' | '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '$' | '!' => {
                escaped.push_str(&format!("&#{};", c as u32))
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// As code within a line, not in a table.
pub(crate) fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    // A space on either side is not shown, and keeps a backtick of the text from the fence.
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// The beginning of a text, in at most so many characters, with an ellipsis where some are left out.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_means_something() {
        assert_eq!(escaped("a|b\n<img src=x> 图"), "a&#124;b<br>&#60;img src=x&#62; 图");
        assert_eq!(escaped("**b** [x](y)\u{1b}[0m"), "&#42;&#42;b&#42;&#42; &#91;x&#93;(y) &#91;0m");
        assert_eq!(escaped("plain, 100% (as it is)."), "plain, 100% (as it is).");
    }

    #[test]
    fn code_may_hold_backticks() {
        assert_eq!(code("q_proj"), "`q_proj`");
        assert_eq!(code("a`b``c\nd"), "``` a`b``c d ```");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("皮卡丘", 3), "皮卡丘");
        assert_eq!(shortened("皮卡 丘。", 3), "皮卡…");
    }
}
