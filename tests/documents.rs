//! What the documents say of the code: the table of settings, the list of commands, and the links, files and folders that
//! they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use tunebook_commands::Takes;
use tunebook_commands::Verb;
use tunebook_commands::verbs;
use tunebook_engine::settings::declarations;

const SETTINGS: &str = "repl/docs/settings.md";
const START: &str = "<!-- settings: this table is made from the declarations; the tests compare it -->\n";
const END: &str = "<!-- /settings -->";

/// What a path from the root of the repository begins with.
const FOLDERS: [&str; 5] = ["kernel/", "repl/", "tests/", "notebooks/", ".ci/"];

/// To bring the table up to date: `UPDATE_DOCS=1 cargo test --release -p tunebook --test integration documents`.
#[test]
fn the_table_of_settings_is_up_to_date() {
    let path = root().join(SETTINGS);
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(START).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{START}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(found, table());
}

fn table() -> String {
    let mut table = "| setting | short | default | takes | |\n|---|---|---|---|---|\n".to_string();
    for setting in declarations() {
        let short = setting.aliases.iter().map(|alias| format!("`{alias}`")).collect::<Vec<_>>().join(", ");
        let default = Some(setting.default()).filter(|value| !value.is_empty()).unwrap_or_default();
        let (name, takes, help) = (setting.name, setting.expected(), setting.help().en);
        table += &format!("| `{name}` | {short} | {default} | {takes} | {help} |\n");
    }
    table
}

#[test]
fn every_verb_is_in_the_readme() {
    let readme = read(Path::new("README.md"));
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| "));
    let commands: BTreeSet<_> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter_map(|command| command.split(' ').next())
        .collect();
    let missing: Vec<_> = verbs().iter().map(|verb| verb.name).filter(|name| !commands.contains(name)).collect();
    assert!(missing.is_empty(), "README.md lists no {missing:?}");
}

#[test]
fn the_verbs_with_a_text_are_those_that_jupyterlab_colours_so() {
    let words: Value = serde_json::from_str(&read(Path::new("kernel/jupyter/lab/src/words.json"))).unwrap();
    let coloured: BTreeSet<_> = words["text"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    // What these take is coloured as what it is.
    let is_code = |verb: &Verb| ["rust", "!", "time"].contains(&verb.name);
    let with_text = verbs().iter().filter(|verb| verb.takes == Takes::Text && !is_code(verb));
    let names = with_text.flat_map(|verb| std::iter::once(verb.name).chain(verb.aliases.iter().copied()));
    assert_eq!(coloured, names.collect());
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        for link in links(&read(&document)) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let leads =
                root().join(&target).exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !leads {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_file_that_is_named_is_there() {
    // Those beside tests and models name the files beside them.
    let documents = documents().into_iter().filter(|path| !path.starts_with("tests") && !path.starts_with("kernel"));
    let mut missing = Vec::new();
    for document in documents {
        let paths = named(&read(&document)).filter(|path| !root().join(path).exists()).collect::<BTreeSet<_>>();
        missing.extend(paths.into_iter().map(|path| format!("{}: {path}", document.display())));
    }
    assert!(missing.is_empty(), "files that are not there:\n{}", missing.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(document: &Path) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{}: {error}", document.display()))
}

/// The project's documents, as paths from the root.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![PathBuf::from("kernel/demo/model/README.md")];
    for folder in ["", "repl/docs", "tests/bench", "tests/cuda", "tests/reference", "tests/reliability"] {
        let names = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        documents.extend(
            names.map(|name| Path::new(folder).join(name)).filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    assert!(documents.len() > 12, "{documents:?}");
    documents
}

/// What the links of a document lead to, as they are written.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_string())).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let kept = |c: char| c.is_alphanumeric() || "-_ ".contains(c);
    headings
        .map(|heading| heading.to_lowercase().chars().filter(|&c| kept(c)).collect::<String>().replace(' ', "-"))
        .collect()
}

/// The files and folders of the repository that a text names, by their paths from its root. A Rust file has to be named
/// so.
fn named(text: &str) -> impl Iterator<Item = String> {
    let words = text
        .split(|c: char| c.is_whitespace() || "`()[]|\",;#".contains(c))
        .map(|word| word.trim_end_matches(['.', ':']));
    let is_path = |word: &&str| FOLDERS.iter().any(|folder| word.starts_with(folder)) || word.ends_with(".rs");
    // What begins with dots is a link, and looked at as such.
    words.filter(is_path).filter(|word| !word.starts_with("..")).map(str::to_string)
}

#[test]
fn links_anchors_and_names_are_found() {
    let text =
        "# The `way` of it, 2\nsee [this](a/b.md#c) and ![that](d.png)\n`kernel/x/y.rs`, (tests/z.py).\nother.rs";
    assert_eq!(links(text), ["a/b.md#c", "d.png"]);
    assert_eq!(anchors(text), BTreeSet::from(["the-way-of-it-2".to_string()]));
    assert_eq!(named(text).collect::<Vec<_>>(), ["kernel/x/y.rs", "tests/z.py", "other.rs"]);
}
