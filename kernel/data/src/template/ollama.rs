//! A template in the language of Ollama's Modelfile.

use super::Template;

impl Template {
    /// The conversation as a template of Go, as LLaMA-Factory writes it into its Modelfile. Ollama has no tools and no
    /// thoughts by it.
    pub fn ollama(&self) -> String {
        let [system, user, assistant] =
            [(self.system, ".System"), (self.user, ".Content"), (self.assistant, ".Content")]
                .map(|([before, after], field)| format!("{before}{{{{ {field} }}}}{after}"));
        format!(
            "{{{{ if .System }}}}{system}{{{{ end }}}}{{{{ range .Messages }}}}{{{{ if eq .Role \"user\" }}}}{user}\
             {{{{ else if eq .Role \"assistant\" }}}}{assistant}{{{{ end }}}}{{{{ end }}}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What LLaMA-Factory's `get_ollama_modelfile` has for this template.
    #[test]
    fn it_is_llamafactorys() {
        let expected = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}\
             {{ range .Messages }}{{ if eq .Role \"user\" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n\
             <|im_start|>assistant\n{{ else if eq .Role \"assistant\" }}{{ .Content }}<|im_end|>\n{{ end }}{{ end }}";
        assert_eq!(Template::qwen2_vl().ollama(), expected);
    }
}
