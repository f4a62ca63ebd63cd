//! The history: in the file that the prompt reads and writes too, and in this kernel with numbers and outputs.

use std::path::Path;
use std::path::PathBuf;

use rustyline::Config;
use rustyline::history::FileHistory;
use rustyline::history::History as _;
use rustyline::history::SearchDirection;
use serde_json::Value;
use serde_json::json;

use crate::request;

/// The session that the lines of the file belong to.
const EARLIER: i64 = 1;
/// The session of this kernel.
const CURRENT: i64 = 2;

/// A cell, or a line of the REPL.
#[derive(Clone, Debug)]
struct Entry {
    session: i64,
    number: i64,
    input: String,
    output: String,
}

/// The history of a kernel.
pub(crate) struct History {
    entries: Vec<Entry>,
    file: Option<(PathBuf, FileHistory)>,
}

impl History {
    /// Reads `path`; without one, or if it cannot be read, the history begins empty.
    pub(crate) fn open(path: Option<&Path>) -> Self {
        let mut entries = Vec::new();
        let file = path.map(|path| {
            let mut file = FileHistory::with_config(&Config::default());
            // The first kernel of a user finds no file.
            let _ = file.load(path);
            for index in 0..file.len() {
                if let Ok(Some(found)) = file.get(index, SearchDirection::Forward) {
                    let input = found.entry.into_owned();
                    entries.push(Entry { session: EARLIER, number: index as i64 + 1, input, output: String::new() });
                }
            }
            (path.to_path_buf(), file)
        });
        Self { entries, file }
    }

    /// Adds a cell, in memory and in the file. A file that cannot be written is no reason to fail a cell.
    pub(crate) fn add(&mut self, number: usize, input: &str, output: String) {
        let (number, input) = (number as i64, input.to_string());
        if let Some((path, file)) = &mut self.file
            && file.add(&input).unwrap_or(false)
        {
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = file.append(path);
        }
        self.entries.push(Entry { session: CURRENT, number, input, output });
    }

    /// What a `history_request` asks for, as the reply lists it.
    pub(crate) fn find(&self, request: &request::History) -> Vec<Value> {
        let mut found: Vec<&Entry> = match request.hist_access_type.as_str() {
            "range" => self.range(request),
            "search" => self.entries.iter().filter(|entry| fits(&request.pattern, &entry.input)).collect(),
            _ => self.entries.iter().collect(),
        };
        if request.unique {
            let mut seen = std::collections::HashSet::new();
            found.reverse();
            found.retain(|entry| seen.insert(&entry.input));
            found.reverse();
        }
        if let Some(n) = request.n {
            found.drain(..found.len().saturating_sub(usize::try_from(n).unwrap_or(0)));
        }
        let written = |entry: &&Entry| match request.output {
            true => json!([entry.session, entry.number, [entry.input, entry.output]]),
            false => json!([entry.session, entry.number, entry.input]),
        };
        found.iter().map(written).collect()
    }

    fn range(&self, request: &request::History) -> Vec<&Entry> {
        let session = match request.session {
            Some(session @ 1..) => session,
            Some(back) => CURRENT + back,
            None => CURRENT,
        };
        let numbers = request.start.unwrap_or(0)..request.stop.unwrap_or(i64::MAX);
        self.entries.iter().filter(|entry| entry.session == session && numbers.contains(&entry.number)).collect()
    }
}

/// Whether `text` as a whole fits a pattern in which `*` stands for anything and `?` for one character.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
    // Where to go on from when what follows the last `*` does not fit: one character later.
    let mut retry = None;
    let (mut p, mut t) = (0, 0);
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some('*'), _) => {
                retry = Some((p, t));
                p += 1;
            }
            (Some(a), Some(b)) if *a == '?' || a == b => (p, t) = (p + 1, t + 1),
            (None, None) => return true,
            _ => match retry {
                Some((star, from)) if from < text.len() => {
                    retry = Some((star, from + 1));
                    (p, t) = (star + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(history: &History, request: Value) -> Vec<Value> {
        history.find(&request::read(&request).unwrap())
    }

    #[test]
    fn patterns_fit_as_a_shell_s_do() {
        assert!(fits("*rain*", "train 5") && fits("train ?", "train 5") && fits("*", "") && fits("a*b*c", "a1b2bc"));
        assert!(!fits("rain", "train") && !fits("train ?", "train ") && !fits("", "x") && !fits("a*c", "ab"));
    }

    #[test]
    fn tail_range_and_search() {
        let mut history = History::open(None);
        for (number, input) in ["show lr", "status", "show lr"].into_iter().enumerate() {
            history.add(number + 1, input, format!("out {number}"));
        }
        let tail = json!({"hist_access_type": "tail", "n": 2, "output": true});
        assert_eq!(asked(&history, tail), [json!([2, 2, ["status", "out 1"]]), json!([2, 3, ["show lr", "out 2"]])]);
        let range = json!({"hist_access_type": "range", "session": 0, "start": 1, "stop": 2});
        assert_eq!(asked(&history, range), [json!([2, 1, "show lr"])]);
        let search = json!({"hist_access_type": "search", "pattern": "show*", "unique": true});
        assert_eq!(asked(&history, search), [json!([2, 3, "show lr"])]);
    }

    #[test]
    fn the_file_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/history.txt");
        let (mut one, mut other) = (History::open(Some(&path)), History::open(Some(&path)));
        one.add(1, "train 5 \\\n  lr=1e-4", String::new());
        other.add(1, "status", String::new());
        let read = asked(&History::open(Some(&path)), json!({"hist_access_type": "tail"}));
        assert_eq!(read, [json!([1, 1, "train 5 \\\n  lr=1e-4"]), json!([1, 2, "status"])]);
    }
}
