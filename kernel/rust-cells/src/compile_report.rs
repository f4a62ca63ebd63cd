//! What the compiler found, with the lines of the cell and carets below them.

use std::ops::Range;

use annotate_snippets::AnnotationKind;
use annotate_snippets::Group;
use annotate_snippets::Level;
use annotate_snippets::Renderer;
use annotate_snippets::Snippet;
use evcxr::CompilationError;

/// Every error, as the compiler would draw it, in colours.
pub(crate) fn draw(errors: &[CompilationError], code: &str) -> String {
    errors.iter().map(|error| draw_one(error, code)).collect::<Vec<_>>().join("\n\n")
}

fn draw_one(error: &CompilationError, code: &str) -> String {
    let message = error.message();
    let title = match error.code() {
        Some(code) => Level::ERROR.primary_title(message.as_str()).id(code),
        None => Level::ERROR.primary_title(message.as_str()),
    };
    let annotations: Vec<_> = error
        .spanned_messages()
        .iter()
        .filter_map(|message| {
            let span = message.span.as_ref()?;
            let place = bytes(code, (span.start_line, span.start_column), (span.end_line, span.end_column))?;
            let kind = if message.is_primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            Some(kind.span(place).label(message.label.as_str()))
        })
        .collect();
    let mut group = Group::with_title(title);
    if !annotations.is_empty() {
        group = group.element(Snippet::source(code).line_start(1).path("cell").annotations(annotations));
    }
    let help = error.help();
    let hints = help.iter().map(String::as_str).chain(error.evcxr_extra_hint());
    let group = hints.fold(group, |group, hint| group.element(Level::HELP.message(hint)));
    Renderer::styled().render(&[group])
}

/// Lines and columns, counted from 1 in characters, as bytes of `code`.
fn bytes(code: &str, start: (usize, usize), end: (usize, usize)) -> Option<Range<usize>> {
    let at = |(line, column): (usize, usize)| {
        let text = code.split('\n').nth(line.checked_sub(1)?)?;
        let before: usize = code.split('\n').take(line - 1).map(|line| line.len() + 1).sum();
        let inside = text.char_indices().nth(column.checked_sub(1)?).map_or(text.len(), |(at, _)| at);
        Some(before + inside)
    };
    let (start, end) = (at(start)?, at(end)?);
    (start <= end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_lines_of_any_script() {
        let code = "let 图 = 1;\nlet y: String = 图;";
        assert_eq!(&code[bytes(code, (2, 17), (2, 18)).unwrap()], "图");
        assert_eq!(&code[bytes(code, (1, 5), (1, 6)).unwrap()], "图");
        assert_eq!(bytes(code, (3, 1), (3, 2)), None);
        assert_eq!(bytes(code, (0, 1), (1, 1)), None);
    }
}
