//! Rows under a header as HTML.

use tunebook_commands::output::Table;

use super::escape::escape;

/// The table with its title above and its note below.
pub fn table(table: &Table) -> String {
    with_cells(table, &|_, _, cell| escape(cell))
}

/// The same with what `cell` makes of each cell, whose row and column are counted from 0.
pub(super) fn with_cells(table: &Table, cell: &dyn Fn(usize, usize, &str) -> String) -> String {
    let row = |tag: &str, cells: &mut dyn Iterator<Item = String>| {
        let cells: String = cells.map(|cell| format!("<{tag} style=\"text-align:left\">{cell}</{tag}>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let head = row("th", &mut table.headers.iter().map(|header| escape(header)));
    let body: String = table
        .rows
        .iter()
        .enumerate()
        .map(|(place, cells)| row("td", &mut cells.iter().enumerate().map(|(column, text)| cell(place, column, text))))
        .collect();
    let title = match table.title.as_str() {
        "" => String::new(),
        title => format!("<caption style=\"text-align:left;white-space:nowrap\">{}</caption>", escape(title)),
    };
    let note = match table.note.as_str() {
        "" => String::new(),
        note => format!("<p style=\"opacity:.7;white-space:pre-line\">{}</p>", escape(note)),
    };
    format!("<table>{title}<thead>{head}</thead><tbody>{body}</tbody></table>{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped_and_a_note_stands_below() {
        let html = table(&Table {
            headers: vec!["verb", "does"],
            rows: vec![vec!["a<b".to_string(), "x & \"y\"".to_string()]],
            note: "one > two".to_string(),
            ..Table::default()
        });
        assert!(html.contains(">verb</th>") && html.contains(">a&lt;b</td>") && html.contains("&amp; &quot;y&quot;"));
        assert!(!html.contains("<caption") && html.ends_with("one &gt; two</p>"), "{html}");
    }
}
