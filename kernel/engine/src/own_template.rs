//! The chat template that a model was trained with.
//!
//! LLaMA-Factory is told its name in every recipe. Here a model folder tells it: by its family, and where a family has
//! models that think and models that do not, by the folder's own chat template, which then begins every answer with a
//! thought.

use std::path::Path;

use serde_json::Value;
use tunebook_data::Template;
use tunebook_nn::models::Family;

use crate::error::Error;
use crate::error::Result;
use crate::model::read_json;

const TEMPLATE: &str = "chat_template";

/// The template of the model in `folder`, which is of this family.
///
/// # Errors
/// A file that holds the folder's chat template cannot be read.
pub(crate) fn of(folder: &Path, family: &Family) -> Result<&'static Template> {
    let name = match family.thinking_template {
        Some(thinking) if begins_with_thought(folder)? => thinking,
        _ => family.template,
    };
    Ok(Template::by_name(name).expect("a family names templates that there are, as tests see"))
}

/// Whether the folder's chat template has `<think>` where it lets an answer begin, which is at its end.
fn begins_with_thought(folder: &Path) -> Result<bool> {
    let template = chat_template(folder)?.unwrap_or_default();
    Ok(template.rsplit_once("add_generation_prompt").is_some_and(|(_, answer)| answer.contains("<think>")))
}

/// The folder's chat template in Jinja: a file of its own, or in one of the two JSON files that may hold it.
pub(crate) fn chat_template(folder: &Path) -> Result<Option<String>> {
    let path = folder.join("chat_template.jinja");
    if path.exists() {
        return tunebook_files::read_to_string(&path).map(Some).map_err(|source| Error::Read { path, source });
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if path.exists()
            && let Some(Value::String(template)) = read_json(path)?.get(TEMPLATE)
        {
            return Ok(Some(template.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tunebook_nn::models::FAMILIES;

    use super::*;

    const THINKING: &str = "{{ m.content.split('</think>') }}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}";
    const INSTRUCT: &str = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
    /// One that reads thoughts, but begins none.
    const READS: &str = "{{ '<think>' }}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

    fn family(model_type: &str) -> &'static Family {
        FAMILIES.iter().find(|family| family.model_type == model_type).unwrap()
    }

    fn name(model_type: &str, files: &[(&str, String)]) -> &'static str {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        of(folder.path(), family(model_type)).unwrap().name
    }

    #[test]
    fn every_family_has_templates_that_there_are() {
        for family in FAMILIES {
            for name in [Some(family.template), family.thinking_template].into_iter().flatten() {
                assert!(Template::by_name(name).is_some(), "{family:?}");
            }
        }
    }

    #[test]
    fn a_model_that_thinks_is_known_by_its_own_template() {
        let in_json = |template: &str| json!({"chat_template": template, "eos_token": "<|im_end|>"}).to_string();
        for (template, expected) in
            [(THINKING, "qwen3_vl"), (INSTRUCT, "qwen3_vl_nothink"), (READS, "qwen3_vl_nothink")]
        {
            for (file, text) in [
                ("chat_template.jinja", template.to_string()),
                ("chat_template.json", in_json(template)),
                ("tokenizer_config.json", in_json(template)),
            ] {
                assert_eq!(name("qwen3_vl", &[(file, text.clone())]), expected, "{file}");
                assert_eq!(name("qwen2_5_vl", &[(file, text)]), "qwen2_vl", "{file}");
            }
        }
        let both = [("chat_template.jinja", INSTRUCT.to_string()), ("tokenizer_config.json", in_json(THINKING))];
        assert_eq!(name("qwen3_vl", &both), "qwen3_vl_nothink");
        let without = [("tokenizer_config.json", "{}".to_string())];
        assert_eq!((name("qwen3_vl", &without), name("qwen2_vl", &without)), ("qwen3_vl_nothink", "qwen2_vl"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), "{").unwrap();
        let error = of(folder.path(), family("qwen3_vl")).unwrap_err().to_string();
        assert!(error.contains("tokenizer_config.json"), "{error}");
    }
}
