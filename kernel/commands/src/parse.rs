//! A line as a verb and what it is given.

use std::path::PathBuf;

use tunebook_engine::nearest::nearest;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::declaration;
use tunebook_engine::settings::declarations;
use tunebook_quote::quote;

use crate::error::Error;
use crate::error::Result;
use crate::localized;
use crate::shell;
use crate::verb;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::words;
use crate::words::Word;
use crate::words::Words;

/// The arguments of a verb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// Words without a key, in order.
    pub words: Vec<String>,
    /// The verb's own keys, in order.
    pub options: Vec<(&'static str, String)>,
    /// Settings by their full names, in order.
    pub settings: Vec<(&'static str, String)>,
    /// The rest of the line, for a verb that takes a text.
    pub text: String,
}

impl Args {
    /// The word at `index`.
    pub fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(String::as_str)
    }

    /// The values of the verb's own key `name`.
    pub fn options(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option that is a number of things.
    ///
    /// # Errors
    /// It is no whole number above 0.
    pub fn number(&self, name: &str, verb: &Verb) -> Result<Option<usize>> {
        let number = |text: &str| match text.parse() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(verb.usage_error(localized!(
                "{name} must be an integer of at least 1, not `{text}`",
                "{name} 应为不小于 1 的整数，而不是 `{text}`",
                text = quote(text)
            ))),
        };
        self.options(name).next().map(number).transpose()
    }

    /// The value of an option that turns something on or off.
    ///
    /// # Errors
    /// It is neither `true` nor `false`.
    pub fn switch(&self, name: &str, verb: &Verb) -> Result<Option<bool>> {
        let switch = |text: &str| {
            text.parse().map_err(|_| {
                verb.usage_error(localized!(
                    "{name} must be true or false, not `{text}`",
                    "{name} 应为 true 或 false，而不是 `{text}`",
                    text = quote(text)
                ))
            })
        };
        self.options(name).next().map(switch).transpose()
    }

    /// The word at `index` as a whole number.
    ///
    /// # Errors
    /// The word is not a whole number.
    pub fn count(&self, index: usize, verb: &Verb) -> Result<Option<usize>> {
        let parse = |word: &str| {
            word.parse().map_err(|_| {
                verb.usage_error(localized!("`{word}` is not an integer", "`{word}` 不是整数", word = quote(word)))
            })
        };
        self.word(index).map(parse).transpose()
    }
}

/// Parses one line; `None` if it holds no command. A line that begins with `key=value` belongs to `set`.
///
/// # Errors
/// An unknown verb or key (the error suggests the closest one), a key without a value, an open quote, too many or too
/// few words.
pub(crate) fn parse(line: &str, verbs: &[&'static Verb]) -> Result<Option<(&'static Verb, Args)>> {
    if let Some(command) = shell::command(line) {
        return Ok(Some((verb::find(shell::MARK, verbs)?, Args { text: command.to_string(), ..Args::default() })));
    }
    let line = without_percent(line);
    let split = words::split(line);
    let Some((verb, rest)) = verb_and_rest(&split.words, verbs) else { return Ok(None) };
    let verb = verb?;
    if let Some(before) = in_background(line, &split, verb) {
        let Some((verb, mut args)) = parse(before, verbs)? else { return Ok(None) };
        add_option(verb, &mut args, BACKGROUND, "true")?;
        return Ok(Some((verb, args)));
    }
    let args = match verb.takes {
        Takes::Words(least, most) => words_and_options(verb, line, &split, rest, least..=most)?,
        Takes::Assignment => words_and_options(verb, line, &split, rest, 1..=usize::MAX)?,
        Takes::Text => options_and_text(verb, line, &split, rest)?,
        Takes::Values => words_and_options(verb, line, &split, rest, 0..=0)?,
    };
    Ok(Some((verb, args)))
}

/// The option that a `&` at the end of the line stands for, as in a shell.
pub(crate) const BACKGROUND: &str = "background";

/// What stands before such a `&`, if the verb knows it.
fn in_background<'a>(line: &'a str, split: &Words, verb: &Verb) -> Option<&'a str> {
    let knows = verb.options.iter().any(|option| option.name == BACKGROUND);
    let last = split.words.last().filter(|_| knows && split.open_quote.is_none())?;
    line[..last.span.end].strip_suffix('&')
}

/// The verb of a line and the words behind it. Where the first word is a setting already, all words are those of `set`.
pub(crate) fn verb_and_rest<'a>(
    words: &'a [Word],
    verbs: &[&'static Verb],
) -> Option<(Result<&'static Verb>, &'a [Word])> {
    let (first, rest) = words.split_first()?;
    if first.option().is_some() {
        return Some((verb::find("set", verbs), words));
    }
    let verb = verb::find(&first.text, verbs).map_err(|error| match declaration(&first.text) {
        Ok(_) => Error::SettingAsVerb { key: first.text.clone() },
        Err(_) => error,
    });
    Some((verb, rest))
}

/// IPython users type `%verb`.
pub(crate) fn without_percent(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix('%').unwrap_or(line).trim_start()
}

fn words_and_options(
    verb: &'static Verb,
    line: &str,
    split: &Words,
    rest: &[Word],
    counts: std::ops::RangeInclusive<usize>,
) -> Result<Args> {
    closed(line, split)?;
    let all = rest;
    let mut args = Args::default();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.option() {
            None => args.words.push(word.text.clone()),
            Some(_) if args.words.is_empty() && is_assignment(verb, word) => args.words.push(word.text.clone()),
            Some((key, Some(value))) => add_option(verb, &mut args, &key, value)?,
            Some((key, None)) => {
                let value = rest.next().ok_or_else(|| Error::NoValue { key: quote(&key) })?;
                add_option(verb, &mut args, &key, &value.text)?;
            }
        }
    }
    // `set` says by itself what it takes no word of.
    if let Some(error) = spaced(all).filter(|_| verb.name == "set" && !args.words.is_empty()) {
        return Err(error);
    }
    match args.words.len() {
        given if given < *counts.start() => {
            let name = verb.name;
            Err(verb.usage_error(localized!("`{name}` needs more arguments", "`{name}` 缺少参数")))
        }
        given if given > *counts.end() => {
            let (name, word) = (verb.name, quote(&args.words[*counts.end()]));
            Err(spaced(all).unwrap_or_else(|| {
                verb.usage_error(localized!("`{name}` does not accept `{word}`", "`{name}` 不接受 `{word}`"))
            }))
        }
        _ => Ok(args),
    }
}

/// What is wrong where a word too many comes of blanks: around a `=`, or in a value.
fn spaced(words: &[Word]) -> Option<Error> {
    let is_setting = |word: &Word| declaration(&word.text).is_ok();
    for (index, pair) in words.windows(2).enumerate() {
        let value = |at: usize| words.get(index + at).map_or("VALUE", |word| word.text.as_str());
        match pair {
            [key, equals] if is_setting(key) && equals.text.starts_with('=') => {
                let value = if equals.text == "=" { value(2) } else { &equals.text[1..] };
                return Some(Error::Spaced { key: key.text.clone(), value: quote(value) });
            }
            [word, behind] if behind.option().is_none() && !is_setting(behind) => match word.option() {
                Some((key, Some(""))) => return Some(Error::Spaced { key: quote(&key), value: quote(&behind.text) }),
                Some((key, Some(value))) => {
                    let value = quote(&format!("{value} {}", behind.text));
                    return Some(Error::Unquoted { key: quote(&key), value });
                }
                _ => {}
            },
            _ => {}
        }
    }
    None
}

/// Options come first. From the first word that is not an option, the line is text: verbatim, or unquoted if it begins
/// with a quote.
fn options_and_text(verb: &'static Verb, line: &str, split: &Words, rest: &[Word]) -> Result<Args> {
    let mut args = Args::default();
    let mut rest = rest;
    while let [word, behind @ ..] = rest {
        match (word.option(), behind) {
            (Some((key, Some(value))), _) if is_meant(verb, &key) => {
                add_option(verb, &mut args, &key, value)?;
                rest = behind;
            }
            (Some((key, None)), [value, behind @ ..]) if is_meant(verb, &key) => {
                add_option(verb, &mut args, &key, &value.text)?;
                rest = behind;
            }
            _ => break,
        }
    }
    let Some(first) = rest.first() else {
        closed(line, split)?;
        return Ok(args);
    };
    let raw = &line[first.span.start..];
    if raw.starts_with(['"', '\'']) && split.open_quote.is_none() {
        args.text = rest.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        return Ok(args);
    }
    let own = |word: &Word| word.option().map(|(key, _)| key).filter(|key| verb.options.iter().any(|o| o.name == key));
    if let Some(key) = rest.iter().find_map(own) {
        return Err(Error::OptionInText { key: quote(&key) });
    }
    args.text = raw.to_string();
    Ok(args)
}

/// Whether `key=` in front of a text is an option, or would be but for a slip.
fn is_meant(verb: &Verb, key: &str) -> bool {
    let long = key.len() > 3;
    keys(verb).any(|name| name == key) || long && nearest(key, keys(verb)).is_some_and(|name| name.len() > 3)
}

fn add_option(verb: &'static Verb, args: &mut Args, key: &str, value: &str) -> Result<()> {
    let value = with_home(value);
    if let Some(own) = verb.options.iter().find(|option| option.name == key) {
        if !own.repeats && args.options(own.name).next().is_some() {
            return Err(Error::Twice { key: quote(key) });
        }
        args.options.push((own.name, value));
        return Ok(());
    }
    let unknown = || Error::UnknownOption { verb: verb.name, key: quote(key), nearest: nearest(key, keys(verb)) };
    let setting = match declaration(key) {
        Ok(setting) => setting,
        Err(error) if verb.name == "set" => return Err(error.into()),
        Err(_) => return Err(unknown()),
    };
    if !takes_setting(verb, setting) {
        return Err(Error::SettingOfAnother { verb: verb.name, key: setting.name, value: quote(&value) });
    }
    if args.settings.iter().any(|(name, _)| *name == setting.name) {
        return Err(Error::Twice { key: setting.name.to_string() });
    }
    args.settings.push((setting.name, value));
    Ok(())
}

/// Whether a word is the `NAME=EXPRESSION` that the verb takes, and no option nor one but for a slip.
pub(crate) fn is_assignment(verb: &Verb, word: &Word) -> bool {
    let Some((key, Some(value))) = word.option().filter(|_| verb.takes == Takes::Assignment) else { return false };
    let is_sum = value.is_empty() || value.contains(['+', '-', '*']);
    keys(verb).all(|name| name != key) && (is_sum || nearest(&key, keys(verb)).is_none())
}

/// Every key that `verb` takes, aliases included.
pub(crate) fn keys(verb: &Verb) -> impl Iterator<Item = &'static str> {
    let own = verb.options.iter().map(|option| option.name);
    let settings = settings(verb).flat_map(|s| std::iter::once(s.name).chain(s.aliases.iter().copied()));
    own.chain(settings)
}

/// The settings that may be given to `verb` along the way.
pub(crate) fn settings(verb: &Verb) -> impl Iterator<Item = &'static Declaration> {
    let groups = verb.settings;
    declarations().iter().filter(move |setting| groups.contains(&setting.group))
}

fn takes_setting(verb: &Verb, setting: &Declaration) -> bool {
    verb.settings.contains(&setting.group)
}

fn closed(line: &str, split: &Words) -> Result<()> {
    let Some(at) = split.open_quote else { return Ok(()) };
    let rest = &line[at..];
    Err(Error::OpenQuote { quote: if rest.starts_with('"') { '"' } else { '\'' }, rest: quote(rest) })
}

/// A leading `~/` is the user's home folder, on Windows a leading `~\`, too.
pub(crate) fn with_home(text: &str) -> String {
    let rest = text.strip_prefix('~').and_then(|rest| rest.strip_prefix(std::path::is_separator));
    match (rest, std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        _ => text.to_string(),
    }
}

/// A word as a path.
pub(crate) fn path(word: &str) -> PathBuf {
    PathBuf::from(with_home(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::VERBS;

    fn args(line: &str) -> Args {
        parse(line, VERBS).unwrap().unwrap().1
    }

    fn error(line: &str) -> String {
        parse(line, VERBS).err().unwrap().to_string()
    }

    #[test]
    fn every_example_can_be_read() {
        for verb in VERBS {
            assert!(!verb.examples.is_empty() && verb.usage.starts_with(verb.name), "{}", verb.name);
            for (line, _) in verb.examples {
                let (found, args) = parse(line, VERBS).unwrap().unwrap();
                assert_eq!(found.name, verb.name);
                // It reads them itself.
                if verb.takes != Takes::Values {
                    let mut settings = tunebook_engine::Settings::default();
                    args.settings.iter().for_each(|(key, value)| settings.set(key, value).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_line_is_a_verb_words_and_keys() {
        let found = args("%train 10 lr=1e-4 --batch 4 --num-train-epochs=2 # more");
        assert_eq!(found.words, ["10"]);
        assert_eq!(
            found.settings,
            [
                ("learning_rate", "1e-4".to_string()),
                ("per_device_train_batch_size", "4".to_string()),
                ("num_train_epochs", "2".to_string())
            ]
        );
        assert!(parse("   ", VERBS).unwrap().is_none());
        assert!(parse("# only a comment", VERBS).unwrap().is_none());
        assert_eq!(args("load \"a=b c\"").words, ["a=b c"]);
        for line in ["train 10 lr=1e-4 &", "train 10 lr=1e-4& # more", "train 10 lr=1e-4 background=true"] {
            let found = args(line);
            assert_eq!(
                (&found.words[..], &found.settings[..]),
                (&["10".to_string()][..], &[("learning_rate", "1e-4".to_string())][..])
            );
            assert_eq!(found.options, [("background", "true".to_string())], "{line}");
        }
        assert_eq!(args("chat you & me &").text, "you & me &");
    }

    #[test]
    fn blanks_too_many_are_named() {
        for line in [
            "set learning_rate = 1e-4",
            "set learning_rate= 1e-4",
            "set learning_rate =1e-4",
            "train 5 learning_rate = 1e-4",
        ] {
            let problem = error(line);
            assert!(problem.contains("write `learning_rate=1e-4`, without spaces"), "{line}: {problem}");
        }
        assert!(error("set default_system=Answer briefly").contains("write default_system=\"Answer briefly\""));
        assert!(error("train 5 output_dir=my folder").contains("write output_dir=\"my folder\""));
        assert!(error("train 5 6").contains("does not accept `6`"));
    }

    #[test]
    fn a_line_of_settings_alone_is_a_set() {
        for line in ["lr=1e-4 batch=4", "%lr=1e-4 batch=4 # more", "--lr 1e-4 --batch=4", "set lr=1e-4 batch=4"] {
            let (verb, found) = parse(line, VERBS).unwrap().unwrap();
            assert_eq!(verb.name, "set", "{line}");
            assert_eq!(found, args("set lr=1e-4 batch=4"), "{line}");
        }
        assert!(error("learning_rat=1e-4").contains("did you mean `learning_rate`?"));
        for line in ["lr", "lr 1e-4", "lr = 1e-4"] {
            assert_eq!(error(line), "`lr` is a setting: `lr=VALUE` sets it, `show lr` shows it");
        }
    }

    #[test]
    fn a_text_is_taken_as_it_is() {
        assert_eq!(args("chat What's x=3, and #4?").text, "What's x=3, and #4?");
        assert_eq!(args("chat \"What's this?\" # a question").text, "What's this?");
        let found = args("chat image=a.png --image \"b c.png\" top_p=0.5 Which  one?");
        assert_eq!(found.options, [("image", "a.png".to_string()), ("image", "b c.png".to_string())]);
        assert_eq!(found.settings, [("top_p", "0.5".to_string())]);
        assert_eq!(found.text, "Which  one?");
        assert_eq!(args("print a=1 b=2").text, "a=1 b=2");
        assert_eq!(args("chat"), Args::default());
        assert_eq!(args(" !echo 'a #b").text, "echo 'a #b");
        assert_eq!(args("time train 5 # 'x").text, "train 5 # 'x");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(error("trian 5"), "there is no command `trian` (did you mean `train`?); `help` lists them");
        assert!(error("train 5 lrr=1").contains("`train` does not accept `lrr` (did you mean `lr`?)"));
        assert!(error("set lora_rnk=4").contains("did you mean `lora_rank`?"));
        assert_eq!(error("train 5 rank=4"), "`train` does not accept `lora_rank`; set it with `set lora_rank=4`");
        assert!(error("train 5 6").contains("does not accept `6`; usage: train [N]"));
        assert!(error("load").contains("usage: load MODEL"));
        assert!(error("load \"a b").contains("(\") is not closed: \"a b"));
        assert!(error("train lr=1 learning_rate=2").contains("given twice"));
        assert!(error("train --lr").contains("has no value"));
        assert!(error("chat imge=a.png What?").contains("did you mean `image`?"));
        assert!(error("chat What is this? image=a.png").contains("before the text"));
    }
}
