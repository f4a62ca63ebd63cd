//! Arguments of a command line as the keys of a recipe.

use serde_json::Map;
use serde_json::Value;
use tunebook_quote::quote;

use super::RecipeError;
use super::every_key;
use crate::error::Result;
use crate::settings;
use crate::settings::Declaration;
use crate::settings::Kind;

/// `key=value`, `--key=value`, `--key value`, and as Python's argument parser has switches: `--key` alone turns it on,
/// `--no_key` off. Several values behind a key are a list. Short names of settings are written out.
///
/// # Errors
/// A word that is none of these.
pub(super) fn read(arguments: &[String]) -> Result<Map<String, Value>> {
    let mut given = Map::new();
    let mut rest = arguments;
    while let Some((argument, behind)) = rest.split_first() {
        rest = behind;
        let (key, value) = match (argument.strip_prefix("--"), argument.split_once('=')) {
            (_, Some((key, value))) => (name(key), Some(value.to_string())),
            (Some(key), None) => {
                let values = behind.iter().take_while(|word| !begins_argument(word)).cloned().collect::<Vec<_>>();
                rest = &behind[values.len()..];
                (name(key), Some(values.join(",")).filter(|_| !values.is_empty()))
            }
            (None, None) => return Err(RecipeError::Override(quote(argument)).into()),
        };
        let (key, value) = match (value, key.strip_prefix("no_").filter(|_| !is_known(&key))) {
            (Some(value), _) => {
                let value = typed(&key, value);
                (key, value)
            }
            (None, Some(key)) => (key.to_string(), Value::Bool(false)),
            (None, None) => (key, Value::Bool(true)),
        };
        given.insert(key, value);
    }
    Ok(given)
}

/// The key that is meant: dashes may stand for underscores, a short name for the long one.
fn name(key: &str) -> String {
    let key = key.trim_start_matches("--").replace('-', "_");
    settings::declaration(&key).map_or(key, |setting| setting.name.to_string())
}

fn is_known(key: &str) -> bool {
    every_key().any(|known| known == key)
}

/// Whether a word is no value of the key before it. A value may hold a `=`, too.
fn begins_argument(word: &str) -> bool {
    word.starts_with("--") || word.split_once('=').is_some_and(|(key, _)| is_known(&name(key)))
}

/// A value as YAML would have it, where it is no text.
fn typed(key: &str, value: String) -> Value {
    let number = || value.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    let whole = || value.parse::<i64>().ok().map(Value::from);
    let kind =
        settings::declarations().iter().find(|setting| setting.name == key).map(|Declaration { kind, .. }| *kind);
    let found = match (value.as_str(), kind) {
        ("None" | "null", _) => Some(Value::Null),
        ("True" | "true", Some(Kind::Bool) | None) => Some(Value::Bool(true)),
        ("False" | "false", Some(Kind::Bool) | None) => Some(Value::Bool(false)),
        (_, Some(Kind::Number | Kind::Integer | Kind::Choice(_)) | None) => whole().or_else(number),
        _ => None,
    };
    found.unwrap_or(Value::String(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(arguments: &[&str]) -> Value {
        Value::Object(read(&arguments.iter().map(|text| text.to_string()).collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn arguments_come_in_the_spellings_of_a_shell() {
        let expected = json!({"learning_rate": 1e-4, "output_dir": "a b", "dataset": "1,2", "do_train": true});
        for arguments in [
            ["--learning_rate", "1e-4", "--output_dir", "a b", "--dataset", "1,2", "--do_train", "True"].as_slice(),
            &["lr=1e-4", "output_dir=a b", "dataset=1,2", "do_train=true"],
            &["--learning-rate=1e-4", "--output-dir=a b", "--dataset", "1", "2", "--do_train"],
        ] {
            assert_eq!(given(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn switches_need_no_value() {
        let found = given(&["--overwrite_output_dir", "--no_freeze_vision_tower", "--bf16", "lr=1", "--plot_loss"]);
        let expected = json!({
            "overwrite_output_dir": true, "freeze_vision_tower": false, "bf16": true, "learning_rate": 1, "plot_loss": true,
        });
        assert_eq!(found, expected);
        // A key of its own that begins so.
        assert_eq!(given(&["--no_repeat_ngram_size", "2"]), json!({"no_repeat_ngram_size": 2}));
    }

    #[test]
    fn a_value_may_hold_anything() {
        let found =
            given(&["--lr_scheduler_kwargs", r#"{"num_cycles": 2}"#, "--output_dir", "a=b", "--default_system", ""]);
        let expected =
            json!({"lr_scheduler_kwargs": r#"{"num_cycles": 2}"#, "output_dir": "a=b", "default_system": ""});
        assert_eq!(found, expected);
        assert_eq!(
            given(&["--quantization_bit", "4", "--max_samples", "None"]),
            json!({"quantization_bit": 4, "max_samples": null})
        );
        assert!(read(&["recipe.yaml".to_string()]).unwrap_err().to_string().contains("write key=value"));
    }
}
