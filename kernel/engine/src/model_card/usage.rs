//! How to load what a folder holds.

use serde_json::json;

use super::BaseModel;
use super::Contents;
use super::Facts;
use super::system_prompt;

/// Programs that run as they are, where the folders lie below the one in which they are started.
pub(super) fn text(name: &str, base: &BaseModel, facts: Facts) -> String {
    let python = match facts.contents {
        Contents::TrainedWeights => String::new(),
        _ => format!("With transformers{}:\n\n```python\n{}```\n\n", peft(facts), python(name, base, facts)),
    };
    format!("## How to use it\n\n{python}With tunebook:\n\n```text\n{}```\n", tunebook(name, base, facts))
}

fn peft(facts: Facts) -> &'static str {
    if facts.contents == Contents::Adapter { " and PEFT" } else { "" }
}

fn python(name: &str, base: &BaseModel, facts: Facts) -> String {
    // JSON's texts are Python's.
    let [name, base] = [name, &base.name].map(|name| json!(name).to_string());
    let (imports, model, processor) = match facts.contents {
        Contents::Adapter => (
            "from peft import PeftModel\n",
            format!(
                "base = {base}\nmodel = AutoModelForImageTextToText.from_pretrained(base, dtype=\"auto\")\nmodel = PeftModel.from_pretrained(model, {name})\n"
            ),
            "base".to_string(),
        ),
        _ => ("", format!("model = AutoModelForImageTextToText.from_pretrained({name}, dtype=\"auto\")\n"), name),
    };
    let system = system_prompt(facts).map_or_else(String::new, |system| {
        format!("    {{\"role\": \"system\", \"content\": [{{\"type\": \"text\", \"text\": {}}}]}},\n", json!(system))
    });
    format!(
        "{imports}from transformers import AutoModelForImageTextToText, AutoProcessor\n\n\
         {model}processor = AutoProcessor.from_pretrained({processor})\n\n\
         messages = [\n{system}    \
         {{\"role\": \"user\", \"content\": [\n        \
         {{\"type\": \"image\", \"path\": \"picture.png\"}},\n        \
         {{\"type\": \"text\", \"text\": \"What is in the picture?\"}},\n    \
         ]}},\n]\n\
         inputs = processor.apply_chat_template(\n    \
         messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors=\"pt\"\n\
         ).to(model.device)\n\
         answer = model.generate(**inputs, max_new_tokens=256)[0, inputs[\"input_ids\"].shape[1]:]\n\
         print(processor.decode(answer, skip_special_tokens=True))\n"
    )
}

fn tunebook(name: &str, base: &BaseModel, facts: Facts) -> String {
    let load = match facts.contents {
        Contents::Model => format!("load {}\n", word(name)),
        _ => format!("load {}\nadapter load {}\n", word(&base.name), word(name)),
    };
    // A line of commands holds no line break.
    let system = system_prompt(facts).filter(|system| !system.contains(['\n', '\'']));
    let system = system.map_or_else(String::new, |system| format!("set system={}\n", word(&system)));
    format!("{load}{system}chat image=picture.png What is in the picture?\n")
}

/// A word of a command, in quotes where it has to be.
fn word(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match !text.is_empty() && text.chars().all(is_safe) {
        true => text,
        false if text.contains('\'') => format!("\"{text}\""),
        false => format!("'{text}'"),
    }
}
