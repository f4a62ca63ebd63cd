//! What Ollama is told of the files: a Modelfile, with the template that LLaMA-Factory writes into its own.

use tunebook_data::Template;

use crate::generate::Choice;

/// How the session asks its model.
pub(crate) struct Asked {
    pub template: Template,
    /// Empty if there is none.
    pub system: String,
    pub choice: Choice,
}

/// As LLaMA-Factory sets it; more takes more memory.
const NUM_CTX: usize = 4096;

/// A Modelfile for a model in two files, with `adapter` merged in.
pub(super) fn of_model(model: &str, mmproj: &str, adapter: Option<&str>, asked: &Asked) -> String {
    let Asked { template, system, choice } = asked;
    let adapter = adapter.map(|name| format!("# The adapter {name} is merged in.\n")).unwrap_or_default();
    let mut text = format!(
        "# ollama create NAME -f Modelfile\n{adapter}FROM ./{model}\nFROM ./{mmproj}\n\nTEMPLATE \"\"\"{}\"\"\"\n\n",
        template.ollama()
    );
    if !system.is_empty() {
        text += &format!("SYSTEM \"\"\"{}\"\"\"\n\n", system.replace("\"\"\"", "\"\""));
    }
    text += "PARAMETER stop \"<|im_end|>\"\n";
    match choice.sampling {
        Some(sampling) => {
            text += &format!("PARAMETER temperature {}\nPARAMETER top_p {}\n", sampling.temperature, sampling.top_p);
            text += &format!("PARAMETER top_k {}\n", sampling.top_k);
        }
        None => text += "PARAMETER temperature 0\n",
    }
    text + &format!("PARAMETER repeat_penalty {}\nPARAMETER num_ctx {NUM_CTX}\n", choice.repetition_penalty)
}

/// A Modelfile for an adapter by itself, which lacks the model below it.
pub(super) fn of_adapter(adapter: &str) -> String {
    format!(
        "# ollama create NAME -f Modelfile\n\
         # FROM is the model without the adapter: one that Ollama has, or the files that `export FOLDER format=gguf \
         adapter=base` writes.\n\
         FROM ./base.gguf\nADAPTER ./{adapter}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_prompt_cannot_end_its_quotes() {
        let choice =
            Choice { sampling: None, repetition_penalty: 1.0, max_new_tokens: 1, seed: 0, eos_token_ids: Vec::new() };
        let system = "Say \"\"\"hello\"\"\".".to_string();
        let asked = Asked { template: Template::qwen2_vl().clone(), system, choice };
        let text = of_model("a.gguf", "mmproj-a.gguf", Some("tuned"), &asked);
        assert_eq!(text.matches("\"\"\"").count(), 4, "{text}");
        assert!(text.contains("FROM ./a.gguf\nFROM ./mmproj-a.gguf\n") && text.contains("temperature 0\n"), "{text}");
    }
}
