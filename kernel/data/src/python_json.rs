//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, which is how LLaMA-Factory puts tools into a
//! prompt.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

pub(crate) fn dumps(value: &Value) -> String {
    let mut bytes = Vec::new();
    // Writing a value to memory cannot fail, and what is written is UTF-8.
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, Python));
    debug_assert!(written.is_ok());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A space behind each comma and colon; numbers as Python's `repr`.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        // Rust's shortest digits are Python's, but it changes to exponents elsewhere and pads them otherwise.
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        match exponent.parse() {
            Ok(-4..16) => write!(writer, "{value:?}"),
            Ok(exponent @ 16..) => write!(writer, "{digits}e+{exponent}"),
            Ok(exponent @ ..-4) => write!(writer, "{digits}e-{:02}", -exponent),
            Err(_) => writer.write_all(text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_python_writes_them() {
        let text = r#"{"a": [1, 2.0, -0.5, 1e16, 1.5e-7, 0.0001, 123456789.25, 1e15], "ключ": {}, "b": [], "c": "\"\\\n\t\u0001é\u007f", "d": null, "e": true}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        let expected = crate::fixtures::json("encode/choices.json")["python_json"].clone();
        assert_eq!(dumps(&value), expected.as_str().unwrap());
    }
}
