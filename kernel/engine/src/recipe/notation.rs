//! Values as Python and its YAML library write them.

use serde_json::Value;

/// As `str` writes it on a command line, in quotes where a shell would take it apart.
pub(super) fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_string(),
        Value::Bool(true) => "True".to_string(),
        Value::Bool(false) => "False".to_string(),
        Value::Number(number) => number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), float),
        Value::String(text) => quoted_for_shell(text),
        Value::Array(values) => values.iter().map(python).collect::<Vec<_>>().join(" "),
        Value::Object(_) => quoted_for_shell(&value.to_string()),
    }
}

/// As a value of a YAML mapping that PyYAML reads as it was meant.
pub(super) fn yaml(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            // Without the point it reads a text.
            let text = number.as_f64().map(float).unwrap_or_default();
            if text.contains('.') { text } else { text.replacen('e', ".0e", 1) }
        }
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON is YAML.
        other => other.to_string(),
    }
}

/// `repr` of a float: `0.0002`, `5e-05`, `3.0`.
pub(crate) fn float(number: f64) -> String {
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

/// Whether a text is read as a text without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_inside = |c: char| c.is_alphanumeric() || "_-./,+@ ".contains(c);
    let starts = text.starts_with(|c: char| c.is_alphabetic() || "_/".contains(c)) || text.starts_with("./");
    starts && !text.ends_with(' ') && text.chars().all(is_inside) && !WORDS.contains(&text.to_lowercase().as_str())
}

fn quoted_for_shell(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "_-./,:=@%+".contains(c);
    match !text.is_empty() && text.chars().all(is_safe) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_written_as_python_does() {
        let both = |value: Value| (python(&value), yaml(&value));
        let same = |text: &str| (text.to_string(), text.to_string());
        assert_eq!(both(json!(5e-5)), ("5e-05".to_string(), "5.0e-05".to_string()));
        assert_eq!(both(json!(1.25e-7)), same("1.25e-07"));
        assert_eq!(both(json!(2e-4)), same("0.0002"));
        assert_eq!(both(json!(3.0)), same("3.0"));
        assert_eq!(both(json!(1e16)), ("1e+16".to_string(), "1.0e+16".to_string()));
        assert_eq!(both(json!(180000000)), same("180000000"));
        assert_eq!(both(json!(true)), ("True".to_string(), "true".to_string()));
    }

    #[test]
    fn texts_are_quoted_where_they_would_mean_something_else() {
        let text = |text: &str| yaml(&json!(text));
        for plain in ["Qwen/Qwen2.5-VL-3B-Instruct", "./data", "a,b", "saves/my run", "/x/y", "cosine"] {
            assert_eq!(text(plain), plain);
        }
        for odd in ["no", "Null", "1e3", "12", "", " a", "a: b", "# a", "[a", "- a", "*", "~", "a\nb", "768*768"] {
            assert_eq!(text(odd), json!(odd).to_string());
        }
        assert_eq!(python(&json!("a,b")), "a,b");
        assert_eq!(python(&json!("my run's")), "'my run'\\''s'");
        assert_eq!(python(&json!({"num_cycles": 2})), "'{\"num_cycles\":2}'");
        assert_eq!(yaml(&json!({"num_cycles": 2})), "{\"num_cycles\":2}");
    }
}
