//! What the prompt does while a line is typed: completion, hints, colours, and whether the line continues.

use std::borrow::Cow;

use console::Style;
use console::Term;
use console::truncate_str;
use rustyline::CompletionType;
use rustyline::Context;
use rustyline::Helper as RustylineHelper;
use rustyline::Result;
use rustyline::completion::Completer;
use rustyline::highlight::CmdKind;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::hint::HistoryHinter;
use rustyline::validate::ValidationContext;
use rustyline::validate::ValidationResult;
use rustyline::validate::Validator;
use tunebook_commands::complete;
use tunebook_commands::highlight;
use tunebook_commands::highlight::Part;
use tunebook_commands::script;

/// The width that candidates have before their descriptions.
const NAME_WIDTH: usize = 30;

/// What can stand at a place in a line, and from where on.
pub(crate) type Complete = Box<dyn Fn(&str, usize) -> (usize, Vec<complete::Candidate>)>;

pub(crate) struct Helper {
    complete: Complete,
    color: bool,
    history: HistoryHinter,
    /// What stands, unseen, in front of every line: `chat ` in a conversation.
    pub prefix: &'static str,
}

/// A candidate and how it is listed.
pub(crate) struct Candidate {
    shown: String,
    text: String,
}

impl rustyline::completion::Candidate for Candidate {
    fn display(&self) -> &str {
        &self.shown
    }

    fn replacement(&self) -> &str {
        &self.text
    }
}

impl Helper {
    pub(crate) fn new(complete: Complete, color: bool) -> Self {
        Self { complete, color, history: HistoryHinter::new(), prefix: "" }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        style.force_styling(self.color).apply_to(text).to_string()
    }
}

impl RustylineHelper for Helper {}

impl Completer for Helper {
    type Candidate = Candidate;

    fn complete(&self, line: &str, cursor: usize, _: &Context) -> Result<(usize, Vec<Candidate>)> {
        let whole = format!("{}{line}", self.prefix);
        let offset = self.prefix.len();
        let (start, candidates) = (self.complete)(&whole, offset + cursor);
        let width = usize::from(Term::stdout().size().1).saturating_sub(2);
        let shown = |candidate: &complete::Candidate| match candidate.description.as_str() {
            "" => last_part(&candidate.text).to_string(),
            description => {
                let listed = format!("{:NAME_WIDTH$} {description}", candidate.text);
                truncate_str(&listed, width, "").into_owned()
            }
        };
        let listed =
            candidates.into_iter().map(|candidate| Candidate { shown: shown(&candidate), text: candidate.text });
        Ok((start.saturating_sub(offset), listed.collect()))
    }
}

/// Of a path, the part behind the last `/` that is not its end.
fn last_part(text: &str) -> &str {
    let body = text.strip_suffix('/').unwrap_or(text);
    body.rfind('/').map_or(text, |at| &text[at + 1..])
}

impl Hinter for Helper {
    type Hint = String;

    fn hint(&self, line: &str, cursor: usize, context: &Context) -> Option<String> {
        if line.is_empty() || cursor < line.len() {
            return None;
        }
        let usage = if self.prefix.is_empty() { complete::hint(line) } else { None };
        usage.or_else(|| self.history.hint(line, cursor, context))
    }
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.color {
            return Cow::Borrowed(line);
        }
        let whole = format!("{}{line}", self.prefix);
        let (mut painted, mut at) = (String::new(), self.prefix.len());
        for (range, part) in highlight::parts(&whole) {
            if range.start < at {
                continue;
            }
            let style = match part {
                Part::Verb => Style::new().bold().cyan(),
                Part::UnknownVerb | Part::UnknownKey => Style::new().red(),
                Part::Key => Style::new().blue(),
                Part::Value => Style::new().yellow(),
                Part::Quoted => Style::new().green(),
                Part::Comment => Style::new().dim(),
            };
            painted += &whole[at..range.start];
            painted += &self.paint(style, &whole[range.clone()]);
            at = range.end;
        }
        Cow::Owned(painted + &whole[at..])
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(self.paint(Style::new().bold(), prompt))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.paint(Style::new().dim(), hint))
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        Cow::Borrowed(candidate)
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.color
    }
}

impl Validator for Helper {
    fn validate(&self, context: &mut ValidationContext) -> Result<ValidationResult> {
        Ok(match script::is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}
