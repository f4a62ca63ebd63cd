//! JSON as Python and LLaMA-Factory read it, which is more than JSON: `NaN`, `Infinity`, halves of surrogate pairs, and
//! unescaped line feeds and tabs within a string.

use std::borrow::Cow;

use serde_json::Value;

/// What LLaMA-Factory's reader makes of half of a surrogate pair.
const LEFT_OUT: &str = "";

/// Why a text is not JSON. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonFault {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

/// Parses the whole text as one value.
pub(crate) fn value(text: &str) -> Result<Value, JsonFault> {
    read(text, LEFT_OUT, |text| serde_json::from_str(text))
}

/// Parses a message as Jupyter's own programs do: what is no UTF-8 in it becomes U+FFFD, as in Python's
/// `decode("utf8", "replace")`, and so does half of a surrogate pair, which Python keeps and can write nowhere.
///
/// # Errors
/// It is no JSON even so; the message says why, and where.
pub fn message(bytes: &[u8]) -> Result<Value, String> {
    let told = |JsonFault { line, column, message }| format!("{message} at line {line} column {column}");
    read(&String::from_utf8_lossy(bytes), "\u{fffd}", |text| serde_json::from_str(text)).map_err(told)
}

/// Parses a sequence of values.
pub(crate) fn values(text: &str) -> Result<Vec<Value>, JsonFault> {
    read(text, LEFT_OUT, |text| serde_json::Deserializer::from_str(text).into_iter().collect())
}

/// Parses JSON as it is, and if that fails, again after rewriting what Python allows beyond JSON. `half` takes the place of
/// half of a surrogate pair.
fn read<T>(text: &str, half: &'static str, read: impl Fn(&str) -> serde_json::Result<T>) -> Result<T, JsonFault> {
    let error = match read(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let rewritten = Rewritten::new(text, half);
    if rewritten.changes.is_empty() {
        return Err(fault(text, &error, &rewritten));
    }
    read(&rewritten.text).map_err(|error| fault(text, &error, &rewritten))
}

/// Translates the position of an error from the rewritten text to the original one.
fn fault(original: &str, error: &serde_json::Error, rewritten: &Rewritten) -> JsonFault {
    let before = rewritten.text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let place = rewritten.original_place(before + error.column().saturating_sub(1)).min(original.len());
    let before = &original.as_bytes()[..place];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let at = format!(" at line {} column {}", error.line(), error.column());
    JsonFault {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + String::from_utf8_lossy(&before[line_start..]).chars().count(),
        message: error.to_string().replace(&at, ""),
    }
}

/// A text in which what Python allows beyond JSON is JSON. A number that is none is `null`, as LLaMA-Factory's reader has it.
struct Rewritten {
    text: String,
    /// Where a change ends in `text`, and in the original.
    changes: Vec<(usize, usize)>,
}

impl Rewritten {
    fn new(original: &str, half: &'static str) -> Self {
        let bytes = original.as_bytes();
        let (mut text, mut changes) = (String::new(), Vec::new());
        let (mut at, mut copied, mut in_string) = (0, 0, false);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (length, replacement) = match (in_string, rest[0]) {
                (_, b'"') => {
                    in_string = !in_string;
                    (1, None)
                }
                (true, b'\\') => escape(rest, half),
                (true, byte @ ..b' ') => (1, Some(format!("\\u{byte:04x}").into())),
                (false, b'N' | b'I' | b'-') => number(rest),
                _ => (1, None),
            };
            if let Some(replacement) = replacement {
                text.push_str(&original[copied..at]);
                text.push_str(&replacement);
                copied = at + length;
                changes.push((text.len(), copied));
            }
            at += length;
        }
        text.push_str(&original[copied..]);
        Self { text, changes }
    }

    /// Where a place in the text is in the original.
    fn original_place(&self, place: usize) -> usize {
        let before = self.changes.partition_point(|(end, _)| *end <= place);
        let (end, original) = before.checked_sub(1).map_or((0, 0), |last| self.changes[last]);
        original + place - end
    }
}

/// How long what begins with a backslash is, and what is to stand there instead: `half` for half of a surrogate pair.
fn escape(rest: &[u8], half: &'static str) -> (usize, Option<Cow<'static, str>>) {
    match (unit(rest), rest.get(6..).and_then(unit)) {
        (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (12, None),
        (Some(0xd800..0xe000), _) => (6, Some(half.into())),
        _ => (2, None),
    }
}

/// The UTF-16 unit that `\uXXXX` stands for.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// The same for what may be one of Python's numbers that are none.
fn number(rest: &[u8]) -> (usize, Option<Cow<'static, str>>) {
    let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word.as_bytes()));
    word.map_or((1, None), |word| (word.len(), Some("null".into())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let text =
            r#"[{"a": NaN, "b": [-Infinity, Infinity, -1], "c": "NaN \\ud83d \ud83d\ude00 \ud83d \ude00\ud83d"}]"#;
        let expected = json!([{"a": null, "b": [null, null, -1], "c": "NaN \\ud83d 😀  "}]);
        assert_eq!(value(text).unwrap(), expected);
        assert_eq!(value("[\"a\tb\nc\u{1}d\"]").unwrap(), json!(["a\tb\nc\u{1}d"]));
        assert_eq!(values("{\"a\": NaN}\n\n{\"a\": 1}\n").unwrap(), [json!({"a": null}), json!({"a": 1})]);
    }

    #[test]
    fn a_message_is_read_whatever_its_characters() {
        assert_eq!(message(br#"{"code": "a \ud800 \ud83d\ude00"}"#).unwrap(), json!({"code": "a \u{fffd} 😀"}));
        assert_eq!(message(b"{\"code\": \"a \xff\"}").unwrap(), json!({"code": "a \u{fffd}"}));
        assert_eq!(message(b"no json").unwrap_err(), "expected ident at line 1 column 2");
    }

    #[test]
    fn a_fault_keeps_its_place() {
        for (text, line, column) in [
            ("[1,\n 2,\n]", 3, 1),
            ("[NaN,\n [NaN, Infinity, x]]", 2, 18),
            (r#"["\ud83d", "é", NaN,, 1]"#, 1, 21),
            ("[\"你好\"] more", 1, 8),
            ("[-Infinit]", 1, 3),
            ("[\"\\u12", 1, 6),
        ] {
            let fault = value(text).unwrap_err();
            assert_eq!((fault.line, fault.column), (line, column), "{text}: {fault:?}");
        }
    }
}
