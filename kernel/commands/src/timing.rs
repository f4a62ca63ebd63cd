//! How long lines take: `time LINE`, and `%%time` above the lines of a cell, told as IPython tells it.

mod cpu_time;

use std::thread;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use tunebook_engine::Cancel;
use tunebook_engine::Session;

use crate::cell;
use crate::error::Error;
use crate::error::Result;
use crate::host::Message;
use crate::lang::Lang;
use crate::lang::Language;
use crate::localized;
use crate::output::Output;
use crate::run;
use crate::script::Line;
use crate::verb::CommandContext;

/// Begins a line.
pub(crate) const VERB: &str = "time";
/// How many messages wait for the face before who tells them waits, too.
const WAITING: usize = 16;
/// Begins a cell, or a block that ends with an empty line.
pub(crate) const BLOCK: &str = "%%time";

/// The lines that are to be timed, of a line or a block that asks for it; their numbers count from the first line of `text`.
pub fn lines(text: &str) -> Option<Vec<Line>> {
    if let Some(code) = block(text) {
        let mut lines = cell::lines(code);
        let above = text[..text.len() - code.len()].lines().count();
        lines.iter_mut().for_each(|line| line.number += above);
        return Some(lines);
    }
    let line = text[line_start(text)?..].trim();
    Some(vec![Line { number: 1, text: line.to_string() }])
}

/// What stands below the first line of a block, or below several of that kind.
pub(crate) fn block(text: &str) -> Option<&str> {
    fn below(text: &str) -> Option<&str> {
        let (line, code) = text.trim_start().split_once('\n').unwrap_or((text.trim_start(), ""));
        (line.trim_end() == BLOCK).then_some(code)
    }
    innermost(text, below)
}

/// Where the line begins that `time LINE` or `%time LINE` times, behind the last `time` of several.
pub fn line_start(text: &str) -> Option<usize> {
    fn behind(text: &str) -> Option<&str> {
        let rest = text.trim_start();
        let rest = rest.strip_prefix('%').unwrap_or(rest).trim_start().strip_prefix(VERB)?;
        Some(rest.trim_start()).filter(|line| line.len() < rest.len())
    }
    innermost(text, behind).map(|line| text.len() - line.len())
}

/// What is left when as much is taken off as can be.
fn innermost(text: &str, taken_off: fn(&str) -> Option<&str>) -> Option<&str> {
    let mut found = None;
    while let Some(rest) = taken_off(found.unwrap_or(text)) {
        found = Some(rest);
    }
    found
}

/// Has lines carried out one after another, up to the first that fails, and tells their time behind what they tell. `None`
/// where `text` asks for no time.
pub fn carry_out(
    text: &str,
    carry_out: impl Fn(&str) -> Receiver<Message> + Send + 'static,
    cancel: &Cancel,
    language: &Language,
) -> Option<Receiver<Message>> {
    let lines = lines(text)?;
    let (cancel, language, (messages, received)) = (cancel.clone(), language.clone(), bounded(WAITING));
    // A thread that could not be started drops the sender, which the face hears.
    let _ = thread::Builder::new().name("time".to_string()).spawn(move || {
        let watch = Stopwatch::start();
        let result = pass_on(&lines, &carry_out, &cancel, &messages);
        let _ = messages.send(Message::Output(watch.told(language.get())));
        let _ = messages.send(Message::Done(result));
    });
    Some(received)
}

/// Passes on what the lines tell.
fn pass_on(
    lines: &[Line],
    carry_out: &impl Fn(&str) -> Receiver<Message>,
    cancel: &Cancel,
    messages: &Sender<Message>,
) -> Result<()> {
    for line in lines {
        let mut result = Err(Error::Lost);
        let mut ends = false;
        for message in carry_out(&line.text) {
            match message {
                Message::Done(done) => result = done,
                message => {
                    ends |= matches!(message, Message::Output(Output::Quit));
                    let _ = messages.send(message);
                }
            }
        }
        result.map_err(|error| Error::InBlock { line: line.clone(), error: Box::new(error) })?;
        if ends || cancel.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Carries out lines of a file that `run` reads, and tells their time.
///
/// # Errors
/// The first error.
pub(crate) fn run_lines(lines: &[Line], session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let watch = Stopwatch::start();
    for line in lines {
        let located = |error| Error::InBlock { line: line.clone(), error: Box::new(error) };
        match run::run(&line.text, session, cx).map_err(located)? {
            // What only a face can do, or the host, is done when this line is.
            output @ (Output::Quit | Output::Wait | Output::Conversation | Output::Panel) => return Ok(output),
            output => (cx.show)(output),
        }
        if cx.context.is_cancelled() {
            break;
        }
    }
    Ok(watch.told(cx.lang()))
}

/// The time since it was started.
struct Stopwatch {
    began: Instant,
    /// User and system, in seconds.
    cpu: Option<[f64; 2]>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { began: Instant::now(), cpu: cpu_time::seconds() }
    }

    fn told(&self, lang: Lang) -> Output {
        let wall = short(self.began.elapsed().as_secs_f64());
        let wall = localized!(lang, "Wall time: {wall}", "实际用时：{wall}");
        let cpu = self.cpu.zip(cpu_time::seconds()).map(|(before, now)| {
            let [user, system] = [0, 1].map(|which| now[which] - before[which]);
            let (user, sys, total) = (short(user), short(system), short(user + system));
            localized!(
                lang,
                "CPU times: user {user}, sys: {sys}, total: {total}",
                "CPU 时间：用户态 {user}，内核态 {sys}，合计 {total}"
            )
        });
        Output::Text(cpu.into_iter().chain([wall]).collect::<Vec<_>>().join("\n"))
    }
}

/// A time as IPython writes it: three digits and a unit, or from a minute on `1h 2min 3s`.
fn short(seconds: f64) -> String {
    if seconds >= 60.0 {
        let whole = seconds as u64;
        let parts = [("d", whole / 86_400), ("h", whole / 3600 % 24), ("min", whole / 60 % 60), ("s", whole % 60)];
        let parts = parts.iter().filter(|(_, count)| *count > 0).map(|(unit, count)| format!("{count}{unit}"));
        return parts.collect::<Vec<_>>().join(" ");
    }
    let units = [("s", 1.0), ("ms", 1e3), ("μs", 1e6), ("ns", 1e9)];
    let fitting = units.iter().find(|(_, scale)| seconds * scale >= 1.0).unwrap_or(&units[3]);
    let value = seconds * fitting.1;
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", fitting.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Option<Vec<(usize, String)>> {
        lines(text).map(|lines| lines.into_iter().map(|line| (line.number, line.text)).collect())
    }

    #[test]
    fn lines_that_are_to_be_timed_are_found() {
        assert_eq!(texts(" %time train 5").unwrap(), [(1, "train 5".to_string())]);
        assert_eq!(texts("time  time !ls").unwrap(), [(1, "!ls".to_string())]);
        let block = texts("%%time \nset lr=1\n\nplot").unwrap();
        assert_eq!(block, [(2, "set lr=1".to_string()), (4, "plot".to_string())]);
        assert_eq!(texts("%%time\n%%rust\n1\n\n2").unwrap(), [(2, "%%rust\n1\n\n2".to_string())]);
        // No depth is too deep.
        assert_eq!(texts(&format!("{}\nplot", "%%time\n".repeat(100_000))).unwrap(), [(100_002, "plot".to_string())]);
        assert_eq!(texts(&format!("{}plot", "time ".repeat(100_000))).unwrap(), [(1, "plot".to_string())]);
        for other in ["time", "%time", "timeout 5", "train", "%%timeit\ntrain", "%%time train\nplot"] {
            assert_eq!(texts(other), None, "{other}");
        }
        assert_eq!(line_start("%time time plot"), Some(11));
    }

    /// As `_format_time` of IPython 9 has them.
    #[test]
    fn times_are_those_of_ipython() {
        let expected = [
            (0.0, "0 ns"),
            (1.5e-9, "1.5 ns"),
            (2.346e-6, "2.35 μs"),
            (0.0123, "12.3 ms"),
            (0.12, "120 ms"),
            (1.0, "1 s"),
            (59.94, "59.9 s"),
            (65.2, "1min 5s"),
            (3723.0, "1h 2min 3s"),
            (90_000.0, "1d 1h"),
        ];
        for (seconds, text) in expected {
            assert_eq!(short(seconds), text);
        }
    }

    #[test]
    fn work_takes_time_on_a_cpu() {
        let before = cpu_time::seconds().unwrap();
        let until = Instant::now() + std::time::Duration::from_millis(100);
        while Instant::now() < until {
            std::hint::black_box(short(1.0));
        }
        let now = cpu_time::seconds().unwrap();
        assert!(now[0] + now[1] - before[0] - before[1] > 0.01, "{before:?} {now:?}");
    }
}
