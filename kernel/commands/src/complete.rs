//! Completion and hints: what can come next on a line.

use std::path::Path;

use tunebook_data::DatasetInfo;
use tunebook_engine::hub::KNOWN_MODELS;
use tunebook_engine::settings;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::Kind;
use tunebook_engine::settings::declaration;
use tunebook_engine::settings::declarations;

use crate::cell;
use crate::host::Snapshot;
use crate::lang::Lang;
use crate::lang::localized;
use crate::parse;
use crate::rust;
use crate::shell;
use crate::timing;
use crate::verb;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verbs::VERBS;
use crate::verbs::set;
use crate::words;
use crate::words::Word;

/// A completion of the end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The text to put there.
    pub text: String,
    /// A description; may be empty.
    pub description: String,
}

/// The completions of the word that ends at `cursor` (a byte offset), and where the text that they replace begins.
pub fn complete(line: &str, cursor: usize, snapshot: &Snapshot) -> (usize, Vec<Candidate>) {
    let Some(typed) = line.get(..cursor) else { return (cursor, Vec::new()) };
    if let Some(timed) = timing::line_start(typed) {
        let (start, candidates) = complete(&typed[timed..], cursor - timed, snapshot);
        return (timed + start, candidates);
    }
    if shell::command(typed).is_some() {
        return file(typed, snapshot);
    }
    if typed.trim_start().starts_with("%%") {
        return (typed.len() - typed.trim_start().len(), blocks(typed.trim_start(), snapshot.lang));
    }
    let head = parse::without_percent(typed);
    let offset = typed.find(head).unwrap_or(0);
    // `without_percent` trims the end too, which matters here.
    let head = &typed[offset..];
    let split = words::split(head);
    if split.comment.is_some() {
        return (cursor, Vec::new());
    }
    let open = split.words.last().is_some_and(|word| word.span.end == head.len()) && !head.is_empty();
    let (before, last) = match split.words.split_last() {
        Some((last, before)) if open => (before, Some(last)),
        _ => (&split.words[..], None),
    };
    let start = last.map_or(head.len(), |word| word.span.start);
    let typed = last.map_or("", |word| word.text.as_str());
    let at = |given| Cursor { given, start, raw: &head[start..], typed, snapshot };
    let is_setting = last.is_some_and(|word| word.option().is_some());
    let (start, candidates) = match parse::verb_and_rest(before, VERBS) {
        None if is_setting => at(&[]).argument(&set::VERB, last),
        None => (start, at(&[]).first_words()),
        Some((Ok(verb), given)) => at(given).argument(verb, last),
        Some((Err(_), _)) => (start, Vec::new()),
    };
    (offset + start, candidates)
}

/// The files of which one may be the last word of a shell's command.
fn file(typed: &str, snapshot: &Snapshot) -> (usize, Vec<Candidate>) {
    let begin = typed.find(shell::MARK).map_or(0, |at| at + shell::MARK.len());
    let split = words::split(&typed[begin..]);
    let open = split.words.last().filter(|word| begin + word.span.end == typed.len());
    let start = open.map_or(typed.len(), |word| begin + word.span.start);
    let typed_word = open.map_or("", |word| word.text.as_str());
    Cursor { given: &[], start, raw: &typed[start..], typed: typed_word, snapshot }.candidates(Complete::Files)
}

/// What can begin a cell or a block.
fn blocks(typed: &str, lang: Lang) -> Vec<Candidate> {
    let help = |name| verb::find(name, VERBS).map_or("", |verb| verb.help.in_lang(lang));
    named(
        [(cell::CHAT, help("chat")), (rust::BLOCK, help("rust")), (timing::BLOCK, help(timing::VERB))].into_iter(),
        typed,
    )
}

/// The rest of the usage of the verb that is being typed.
pub fn hint(line: &str) -> Option<String> {
    if let Some(start) = timing::line_start(line).filter(|start| *start < line.len()) {
        return hint(&line[start..]);
    }
    let head = line.trim_start().trim_start_matches('%');
    let word = head.trim_end();
    if word.is_empty() || word.contains(char::is_whitespace) || rust::begins_block(line) {
        return None;
    }
    let mut fitting = VERBS.iter().filter(|verb| verb.name == word || head == word && verb.name.starts_with(word));
    let (verb, other) = (fitting.next()?, fitting.next());
    if other.is_some() {
        return None;
    }
    let rest = verb.usage.get(word.len()..)?;
    Some(if head == word { rest } else { rest.trim_start() }.to_string()).filter(|rest| !rest.is_empty())
}

/// Where something is being typed.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    /// The words between the verb and it.
    given: &'a [Word],
    /// Where what is being typed begins.
    start: usize,
    /// What is being typed, with its quotes.
    raw: &'a str,
    /// The same without its quotes.
    typed: &'a str,
    snapshot: &'a Snapshot,
}

impl<'a> Cursor<'a> {
    /// What a line can begin with: a verb, or where none fits, a setting.
    fn first_words(self) -> Vec<Candidate> {
        let verbs = named(VERBS.iter().map(|verb| (verb.name, verb.help.in_lang(self.snapshot.lang))), self.typed);
        if verbs.is_empty() { self.keys(&set::VERB) } else { verbs }
    }

    /// What can follow `verb`; `last` is the word that is being typed.
    fn argument(self, verb: &'static Verb, last: Option<&'a Word>) -> (usize, Vec<Candidate>) {
        // The value of `--key value`.
        if let Some((key, None)) = self.given.last().and_then(Word::option) {
            return self.value(verb, &key);
        }
        // The value of `key=value`.
        if let Some((key, Some(typed))) = last.and_then(Word::option) {
            let begin = self.raw.find('=').map_or(0, |at| at + 1);
            let at_value = Self { start: self.start + begin, raw: &self.raw[begin..], typed, ..self };
            if last.is_some_and(|word| parse::is_assignment(verb, word)) {
                return at_value.terms();
            }
            return at_value.value(verb, &key);
        }
        let words = self.given.iter().filter(|word| word.option().is_none());
        let words: Vec<_> = words.map(|word| word.text.as_str()).collect();
        // Within a text there is nothing to complete.
        if verb.takes == Takes::Text && !words.is_empty() {
            return (self.start, Vec::new());
        }
        let (from, mut found) = self.candidates((verb.complete)(&words));
        if from == self.start {
            found.extend(self.keys(verb));
        }
        (from, found)
    }

    /// The keys that `verb` takes and that are not given yet.
    fn keys(self, verb: &'static Verb) -> Vec<Candidate> {
        let lang = self.snapshot.lang;
        let dashes = if self.typed.starts_with("--") { "--" } else { "" };
        let ending = if dashes.is_empty() { "=" } else { " " };
        let typed = &self.typed[dashes.len()..];
        let taken = |name: &str| {
            let names = self.given.iter().filter_map(Word::option).map(|(key, _)| key);
            names.into_iter().any(|key| key == name || declaration(&key).is_ok_and(|setting| setting.name == name))
        };
        let own = verb.options.iter().filter(|own| own.repeats || !taken(own.name));
        let own = own.map(|own| (own.name, own.help.in_lang(lang)));
        let settings = parse::settings(verb).filter(|setting| !taken(setting.name));
        let settings = settings.flat_map(|setting| written(setting, typed, lang));
        let fitting = own.chain(settings).filter(|(name, _)| name.starts_with(typed));
        fitting
            .map(|(name, help)| Candidate { text: format!("{dashes}{name}{ending}"), description: help.to_string() })
            .collect()
    }

    /// What the value of `key` can be.
    fn value(self, verb: &Verb, key: &str) -> (usize, Vec<Candidate>) {
        let kind = match (verb.options.iter().find(|own| own.name == key), declaration(key)) {
            (Some(own), _) => own.complete,
            (_, Ok(setting)) if !setting.choices().is_empty() => Complete::Words(setting.choices()),
            (_, Ok(setting)) if matches!(setting.name, "dataset" | "eval_dataset") => Complete::DataSets(&[]),
            (_, Ok(setting)) if setting.kind == Kind::Path => Complete::Folders,
            _ => Complete::Nothing,
        };
        self.candidates(kind)
    }

    fn candidates(self, kind: Complete) -> (usize, Vec<Candidate>) {
        let Self { start, raw, typed, snapshot, .. } = self;
        let lang = snapshot.lang;
        let found = match kind {
            Complete::Nothing => Vec::new(),
            Complete::Words(words) => named(words.iter().map(|word| (*word, "")), typed),
            Complete::Files => paths(raw, typed, true),
            Complete::Folders => paths(raw, typed, false),
            Complete::Models => {
                let help = localized("from a hub", "来自模型社区").in_lang(lang);
                let known = named(KNOWN_MODELS.iter().map(|name| (*name, help)), typed);
                paths(raw, typed, false).into_iter().chain(known).collect()
            }
            Complete::Adapters => named(snapshot.adapters.iter().map(|adapter| (adapter.name.as_str(), "")), typed),
            Complete::AdaptersAndFolders => {
                let names = snapshot.adapters.iter().map(|adapter| adapter.name.as_str()).chain(["base"]);
                let live = named(names.map(|name| (name, "")), typed);
                live.into_iter().chain(paths(raw, typed, false)).collect()
            }
            Complete::Topics => {
                let verbs = VERBS.iter().map(|verb| (verb.name, verb.help.in_lang(lang)));
                named(verbs.chain(declarations().iter().map(|s| (s.name, s.help().in_lang(lang)))), typed)
            }
            Complete::Settings => {
                let help = |name| Some((name, declaration(name).ok()?.help().in_lang(lang)));
                named(settings::names().filter_map(help), typed)
            }
            Complete::DataSets(words) => return self.data_sets(words),
            Complete::Terms => return self.terms(),
        };
        (start, found)
    }

    /// The names of adapters behind the last sign or weight.
    fn terms(self) -> (usize, Vec<Candidate>) {
        let behind = |text: &str| text.rfind(['=', '+', '-', '*']).map_or(0, |at| at + 1);
        let names = self.snapshot.adapters.iter().map(|adapter| (adapter.name.as_str(), ""));
        (self.start + behind(self.raw), named(names, &self.typed[behind(self.typed)..]))
    }

    /// The names of data sets behind the last comma, and in front of the first one `words` as well.
    fn data_sets(self, words: &[&'static str]) -> (usize, Vec<Candidate>) {
        let behind_comma = |text: &str| text.rfind(',').map_or(0, |comma| comma + 1);
        let listed = behind_comma(self.typed);
        let names = self.known_data_sets();
        let words = words.iter().copied().filter(|_| listed == 0);
        let names = names.iter().map(String::as_str).chain(words).map(|name| (name, ""));
        (self.start + behind_comma(self.raw), named(names, &self.typed[listed..]))
    }

    /// The names in the `dataset_info.json` that the line, or else the session, means.
    fn known_data_sets(self) -> Vec<String> {
        let on_line = self.given.iter().filter_map(Word::option).find(|(key, _)| key == "dataset_dir");
        let folder = match on_line.as_ref().and_then(|(_, value)| *value) {
            Some(folder) => parse::path(folder),
            None => self.snapshot.settings.dataset_dir.clone(),
        };
        DatasetInfo::read(&folder).map(|info| info.names().map(str::to_string).collect()).unwrap_or_default()
    }
}

/// The names of a setting that are worth offering: its short ones only when they are being typed.
fn written<'a>(
    setting: &'a Declaration,
    typed: &'a str,
    lang: Lang,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let short = setting.aliases.iter().copied().filter(move |alias| !typed.is_empty() && alias.starts_with(typed));
    let long = std::iter::once(setting.name);
    long.chain(short).map(move |name| (name, setting.help().in_lang(lang)))
}

fn named<'a>(all: impl Iterator<Item = (&'a str, &'a str)>, typed: &str) -> Vec<Candidate> {
    all.filter(|(name, _)| name.starts_with(typed))
        .map(|(name, description)| Candidate { text: name.to_string(), description: description.to_string() })
        .collect()
}

/// Files and folders that begin with `typed`; `raw` is the same with its quotes. On Windows a backslash comes back as a
/// slash, which means the same there and needs no second one before it.
fn paths(raw: &str, typed: &str, files: bool) -> Vec<Candidate> {
    let quote = raw.chars().next().filter(|c| matches!(c, '"' | '\''));
    let typed: String = typed.chars().map(|c| if std::path::is_separator(c) { '/' } else { c }).collect();
    let (folder, name) = typed.split_at(typed.rfind('/').map_or(0, |at| at + 1));
    let place = if folder.is_empty() { parse::path("./") } else { parse::path(folder) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(&place)).into_iter().flatten().flatten() {
        let Ok(entry_name) = entry.file_name().into_string() else { continue };
        let hidden = entry_name.starts_with('.') && !name.starts_with('.');
        let is_folder = entry.path().is_dir();
        if !entry_name.starts_with(name) || hidden || !(is_folder || files) {
            continue;
        }
        let path = format!("{folder}{entry_name}{}", if is_folder { "/" } else { "" });
        let text = quote.map_or_else(|| words::escaped(&path), |quote| format!("{quote}{path}"));
        found.push(Candidate { text, description: String::new() });
    }
    found.sort_by(|a, b| a.text.cmp(&b.text));
    found
}

#[cfg(test)]
mod tests {
    use tunebook_engine::report::AdapterReport;

    use super::*;

    fn snapshot() -> Snapshot {
        let adapter = |name: &str| AdapterReport {
            name: name.to_string(),
            active: false,
            lora: None,
            trainable_parameters: 0,
            all_parameters: 0,
            step: 0,
            parent: None,
            not_finite: None,
        };
        Snapshot { adapters: ["default", "old"].map(adapter).to_vec(), ..Snapshot::default() }
    }

    fn completed(line: &str) -> Vec<String> {
        let (start, candidates) = complete(line, line.len(), &snapshot());
        candidates.into_iter().map(|candidate| format!("{}{}", &line[..start], candidate.text)).collect()
    }

    #[test]
    fn verbs_are_completed() {
        assert_eq!(completed("tr"), ["train"]);
        assert_eq!(completed("%tr"), ["%train"]);
        assert_eq!(
            completed("  s"),
            ["  sample", "  set", "  show", "  stop", "  sweep", "  serve", "  save", "  status"]
        );
        assert_eq!(completed("").len(), VERBS.len());
        assert_eq!(completed("%time tr"), ["%time train"]);
        assert_eq!(completed("%%t"), ["%%time"]);
        assert_eq!(completed("%%").len(), 3);
        assert!(completed("zzz ").is_empty());
        assert!(completed("zzz").is_empty());
        assert!(completed("train # s").is_empty());
    }

    #[test]
    fn keys_are_completed_once() {
        assert_eq!(
            completed("train 10 lr"),
            ["train 10 lr=", "train 10 lr_scheduler_type=", "train 10 lr_scheduler_kwargs="]
        );
        assert_eq!(completed("train learning"), ["train learning_rate="]);
        assert!(completed("train lr=1 learning").is_empty());
        assert_eq!(completed("train --learning"), ["train --learning_rate "]);
        assert_eq!(completed("chat image=a ima")[0], "chat image=a image=");
        assert!(completed("load x lora").is_empty());
    }

    #[test]
    fn a_line_of_settings_alone_is_completed() {
        assert_eq!(completed("learning"), ["learning_rate="]);
        assert_eq!(completed("lora_r"), ["lora_rank="]);
        assert_eq!(completed("%plot_"), ["%plot_loss="]);
        assert_eq!(completed("plot_loss=t"), ["plot_loss=true"]);
        assert_eq!(completed("lr=1 plot_loss="), ["lr=1 plot_loss=true", "lr=1 plot_loss=false"]);
        assert_eq!(completed("lr=1 warmup_r"), ["lr=1 warmup_ratio="]);
        assert!(completed("lr=1 learning").is_empty());
    }

    #[test]
    fn values_of_few_words_are_completed() {
        assert_eq!(completed("train lr_scheduler_type=co").len(), 6);
        assert_eq!(completed("set plot_loss=t"), ["set plot_loss=true"]);
        assert_eq!(completed("set --dtype f"), ["set --dtype float32"]);
        assert_eq!(completed("load m dtype="), ["load m dtype=auto", "load m dtype=float32", "load m dtype=bfloat16"]);
    }

    #[test]
    fn adapters_and_topics_are_completed() {
        assert_eq!(completed("adapter u"), ["adapter use"]);
        assert_eq!(completed("adapter use "), ["adapter use default", "adapter use old"]);
        assert_eq!(completed("help lora_r"), ["help lora_rank"]);
        assert_eq!(completed("plot l"), ["plot loss", "plot lr"]);
        assert!(completed("chat What is l").is_empty());
    }

    #[test]
    fn paths_are_completed_and_escaped() {
        let folder = tempfile::tempdir().unwrap();
        // On Windows what is completed has slashes.
        let root = folder.path().to_str().unwrap().replace(std::path::MAIN_SEPARATOR, "/");
        std::fs::create_dir(folder.path().join("my model")).unwrap();
        std::fs::write(folder.path().join("my.txt"), "").unwrap();
        std::fs::write(folder.path().join(".hidden"), "").unwrap();
        assert_eq!(completed(&format!("load {root}/m")), [format!("load {root}/my\\ model/")]);
        assert_eq!(completed(&format!("load \"{root}/m")), [format!("load \"{root}/my model/")]);
        assert_eq!(completed(&format!("run {root}/my.")), [format!("run {root}/my.txt")]);
        assert_eq!(completed(&format!("chat image={root}/my\\ ")), [format!("chat image={root}/my\\ model/")]);
        assert_eq!(completed(&format!("run {root}/")).len(), 2);
        assert_eq!(completed(&format!("!cat {root}/my.")), [format!("!cat {root}/my.txt")]);
        assert_eq!(completed(&format!("time !cat -n {root}/my\\ ")), [format!("time !cat -n {root}/my\\ model/")]);
    }

    #[test]
    fn data_sets_are_those_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let info = r#"{"creatures": {"file_name": "a.json"}, "cats": {"file_name": "b.json"}}"#;
        std::fs::write(folder.path().join("dataset_info.json"), info).unwrap();
        let line = format!("data dataset_dir={root} ");
        assert_eq!(completed(&format!("{line}cr")), [format!("{line}creatures")]);
        assert_eq!(completed(&format!("{line}creatures,ca")), [format!("{line}creatures,cats")]);
    }

    #[test]
    fn every_cursor_in_every_example_can_be_asked() {
        for verb in VERBS {
            for (line, _) in verb.examples {
                for cursor in 0..=line.len() {
                    complete(line, cursor, &snapshot());
                }
            }
        }
        complete("load \"a b", 9, &snapshot());
    }

    #[test]
    fn no_line_breaks_anything() {
        let pieces = [
            "chat", "!", "time", "?", "set", "图=", "--", "=", "\"", "'", "\\", "#", "%", " ", "image=", "é", "lr=",
            "\u{3000}", ",",
        ];
        for (a, b, c) in every_three(&pieces) {
            let line = format!("{a}{b}{c}{b}");
            let _ = parse::parse(&line, VERBS);
            crate::highlight::parts(&line);
            hint(&line);
            for cursor in 0..=line.len() {
                complete(&line, cursor, &snapshot());
                crate::inspect::at(&line, cursor, &snapshot());
            }
        }
    }

    /// Every three of `pieces`.
    fn every_three<'a>(pieces: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        let pairs = move |a: &'a str| pieces.iter().flat_map(move |b| pieces.iter().map(move |c| (a, *b, *c)));
        pieces.iter().flat_map(move |a| pairs(a))
    }

    #[test]
    fn the_hint_is_the_rest_of_the_usage() {
        assert_eq!(hint("sav").as_deref(), Some("e [FOLDER]"));
        assert_eq!(hint("save ").as_deref(), Some("[FOLDER]"));
        assert_eq!(hint("save x"), None);
        assert_eq!(hint("s"), None);
        assert_eq!(hint("lo"), None);
        assert_eq!(hint("status"), None);
        assert_eq!((hint("time ").as_deref(), hint("time sav").as_deref()), (Some("LINE"), Some("e [FOLDER]")));
        assert_eq!(hint("!sav"), None);
    }
}
