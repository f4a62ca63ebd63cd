//! Tables as plain text.

use comfy_table::ContentArrangement;
use comfy_table::presets;

use crate::output::Table;
use crate::page::Page;
use crate::page::wrap;

pub(super) fn draw_table(table: &Table, page: Page) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(presets::NOTHING).set_width(page.width.min(120) as u16);
    drawn.set_content_arrangement(ContentArrangement::Dynamic).set_header(&table.headers).add_rows(&table.rows);
    let lines = drawn.to_string();
    let mut lines: Vec<_> = lines.lines().map(|line| line.trim_end().to_string()).collect();
    if let Some(header) = lines.first_mut() {
        *header = page.faint(header);
    }
    let extra = |text: &str| (!text.is_empty()).then(|| text.to_string());
    let all = extra(&table.title).into_iter().chain(lines).chain(extra(&table.note));
    all.collect::<Vec<_>>().join("\n")
}

/// Every line of `text`, wrapped to the page.
pub(super) fn lines(text: &str, page: Page) -> String {
    text.lines().map(|line| wrap(line, 2, page.width)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Lang;

    #[test]
    fn a_table_fits_the_page() {
        let table = Table {
            headers: vec!["a", "b"],
            rows: vec![vec!["x".to_string(), "many words ".repeat(20)]],
            ..Table::default()
        };
        let text = draw_table(&table, Page { width: 50, color: false, lang: Lang::En });
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 50), "{text}");
    }
}
