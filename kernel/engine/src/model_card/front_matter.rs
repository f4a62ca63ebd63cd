//! The metadata at the top of a card, in YAML: what a hub lists and finds the model by.

use serde_json::json;

use super::BaseModel;
use super::Contents;
use super::Facts;
use super::results::Metrics;
use super::results::Number;
use super::results::metrics;

const TASK: &str = "image-text-to-text";

/// The keys of `ModelCardData`. Those of a library, of adapters and of their base are PEFT's; `license: other` and the
/// method among the tags are LLaMA-Factory's.
pub(super) fn text(name: &str, base: &BaseModel, facts: Facts) -> String {
    let mut tags = vec!["tunebook".to_string()];
    tags.extend(facts.adapter.config.is_some().then(|| "lora".to_string()));
    let mut lines = Vec::new();
    match facts.contents {
        Contents::Adapter => {
            lines.push("library_name: peft".to_string());
            tags.push("transformers".to_string());
        }
        Contents::TrainedWeights => lines.push("library_name: tunebook".to_string()),
        Contents::Model => lines.push("library_name: transformers".to_string()),
    }
    lines.push("license: other".to_string());
    if base.is_a_name() {
        lines.push(format!("base_model: {}", text_value(&base.name)));
        match facts.contents {
            Contents::Adapter => tags.push(format!("base_model:adapter:{}", base.name)),
            _ => lines.push("base_model_relation: finetune".to_string()),
        }
    }
    lines.push(format!("pipeline_tag: {TASK}"));
    tags.sort();
    lines.extend(list("tags", &tags));
    lines.extend(list("datasets", facts.data.map(|data| &data.on_hub[..]).unwrap_or_default()));
    lines.extend(model_index(name, facts));
    format!("---\n{}\n---\n", lines.join("\n"))
}

/// The results, each with the task, the dataset and the number, without which hubs refuse it.
fn model_index(name: &str, facts: Facts) -> Vec<String> {
    let mut lines = vec!["model-index:".to_string(), format!("- name: {}", text_value(name))];
    let results = metrics(facts);
    if results.is_empty() {
        lines.push("  results: []".to_string());
        return lines;
    }
    lines.push("  results:".to_string());
    for Metrics { dataset, numbers } in results {
        lines.push("  - task:".to_string());
        lines.push("      name: Image-Text-to-Text".to_string());
        lines.push(format!("      type: {TASK}"));
        lines.push("    dataset:".to_string());
        lines.extend(["name", "type"].map(|key| format!("      {key}: {}", text_value(&dataset))));
        lines.push("    metrics:".to_string());
        for Number { kind, name, value } in numbers {
            lines.push(format!("    - name: {name}"));
            lines.push(format!("      type: {kind}"));
            lines.push(format!("      value: {value}"));
        }
    }
    lines
}

fn list(key: &str, values: &[String]) -> Vec<String> {
    if values.is_empty() {
        return Vec::new();
    }
    let entries = values.iter().map(|value| format!("- {}", text_value(value)));
    std::iter::once(format!("{key}:")).chain(entries).collect()
}

/// A text: as it is where nothing in it could mean something else, or else as JSON, which is YAML.
fn text_value(text: &str) -> String {
    let is_inside = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_alphabetic())
        && text.split(':').all(|part| !part.is_empty() && part.chars().all(is_inside))
        && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_plain { text.to_string() } else { json!(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_a_text() {
        for plain in ["Qwen/Qwen2.5-VL-3B-Instruct", "base_model:adapter:Qwen/X", "精灵", "lora"] {
            assert_eq!(text_value(plain), plain);
        }
        for odd in ["no", "1e3", "a: b", "- a", "a\n---\nb", "a #b", "x:", "", "\"", "[a]"] {
            assert_eq!(text_value(odd), json!(odd).to_string());
        }
    }
}
