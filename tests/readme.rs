//! The README's table of settings is that of the declarations.

use std::path::PathBuf;

use tunebook_engine::settings::declarations;

const START: &str = "<!-- settings: this table is made from the declarations; the tests compare it -->\n";
const END: &str = "<!-- /settings -->";

/// To bring the README up to date: `UPDATE_README=1 cargo test --release -p tunebook-tests readme`.
#[test]
fn the_table_of_settings_is_up_to_date() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(START).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{START}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(found, table());
}

fn table() -> String {
    let mut table = "| setting | short | default | takes | |\n|---|---|---|---|---|\n".to_string();
    for setting in declarations() {
        let short = setting.aliases.iter().map(|alias| format!("`{alias}`")).collect::<Vec<_>>().join(", ");
        let default = Some(setting.default()).filter(|value| !value.is_empty()).unwrap_or_default();
        let (name, takes, help) = (setting.name, setting.expected(), setting.help());
        table += &format!("| `{name}` | {short} | {default} | {takes} | {help} |\n");
    }
    table
}
