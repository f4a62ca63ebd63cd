//! llama.cpp's server, started for some questions and ended with this value.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use serde_json::json;
use tunebook_quote::quote_end;
use ureq::Agent;

use super::gguf::GgufFiles;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;
use crate::hub::away;

const PROGRAM: &str = "llama-server";
/// Between two looks whether it has loaded the model.
const LOOK: Duration = Duration::from_millis(100);
/// The marker of a picture in versions that do not tell theirs.
const MARKER: &str = "<__media__>";

/// A running server.
pub(super) struct LlamaServer {
    child: Child,
    url: String,
    agent: Agent,
    /// What it has printed.
    log: File,
    /// What stands in a prompt for a picture.
    pub marker: String,
}

/// The program of that name or path, or `llama-server` on PATH.
///
/// # Errors
/// There is none.
pub(crate) fn find(program: Option<&Path>) -> Result<PathBuf> {
    let name = program.map_or(OsStr::new(PROGRAM), Path::as_os_str);
    which::which(name).map_err(|_| Error::NoLlamaServer { program: program.map(Path::to_path_buf) })
}

impl LlamaServer {
    /// Starts `program` on a free port of this host, and waits until it has loaded the files. It takes prompts and answers
    /// of together `context` tokens.
    ///
    /// # Errors
    /// It cannot be started, or ends instead; a stop.
    pub(super) fn start(program: &Path, files: &GgufFiles, context: usize, cancel: &Cancel) -> Result<Self> {
        let error = |source| Error::LlamaServerStart { program: program.to_path_buf(), source };
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(error)?.port();
        let log = tempfile::tempfile().map_err(error)?;
        let mut command = Command::new(program);
        command.arg("--model").arg(&files.model).arg("--mmproj").arg(&files.mmproj);
        if let Some(lora) = &files.lora {
            command.arg("--lora").arg(lora);
        }
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--ctx-size", &context.to_string(), "--parallel", "1"]);
        let (output, errors) = (log.try_clone().map_err(error)?, log.try_clone().map_err(error)?);
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().map_err(error)?;
        let agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let (url, marker) = (format!("http://127.0.0.1:{port}"), MARKER.to_string());
        let mut server = Self { child, url, agent, log, marker };
        while !server.is_ready() {
            if let Some(status) = server.child.try_wait().map_err(error)? {
                return Err(server.failed(program, &status.to_string()));
            }
            away(cancel, || std::thread::sleep(LOOK))?;
        }
        if let Some(marker) = server.get("props").as_ref().and_then(|props| props["media_marker"].as_str()) {
            server.marker = marker.to_string();
        }
        Ok(server)
    }

    /// The greedy continuation of a prompt, in which a marker stands for each picture; pictures are files in PNG.
    ///
    /// # Errors
    /// The server refuses, or has ended; a stop.
    pub(super) fn answer(
        &mut self,
        program: &Path,
        prompt: &str,
        pictures: &[Vec<u8>],
        most_tokens: usize,
        cancel: &Cancel,
    ) -> Result<String> {
        let pictures: Vec<String> = pictures.iter().map(|file| BASE64_STANDARD.encode(file)).collect();
        let prompt = match pictures.is_empty() {
            true => json!(prompt),
            false => json!({"prompt_string": prompt, "multimodal_data": pictures}),
        };
        let question = json!({
            "prompt": prompt,
            "n_predict": most_tokens,
            "temperature": 0,
            "repeat_penalty": 1,
            // What was read before in other pieces would have other last bits.
            "cache_prompt": false,
        });
        let (agent, url) = (self.agent.clone(), format!("{}/completion", self.url));
        let answer = away(cancel, move || {
            let mut response =
                agent.post(&url).header("Content-Type", "application/json").send(question.to_string())?;
            response.body_mut().read_to_string()
        })?;
        match answer {
            Ok(text) => {
                let json: Value = serde_json::from_str(&text).unwrap_or_default();
                json["content"].as_str().map(str::to_string).ok_or_else(|| self.failed(program, &quote_end(&text)))
            }
            Err(error) => Err(self.failed(program, &error.to_string())),
        }
    }

    fn is_ready(&self) -> bool {
        self.get("health").is_some_and(|health| health["status"] == "ok")
    }

    fn get(&self, path: &str) -> Option<Value> {
        let text = self.agent.get(format!("{}/{path}", self.url)).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    }

    /// An error with the last lines of what it printed.
    fn failed(&mut self, program: &Path, problem: &str) -> Error {
        const LINES: usize = 6;
        let mut log = Vec::new();
        // What cannot be read is left out of the message.
        let _ = self.log.rewind().and_then(|()| self.log.read_to_end(&mut log));
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let said = lines[lines.len().saturating_sub(LINES)..].join("\n");
        Error::LlamaServer { program: program.to_path_buf(), problem: problem.to_string(), said: quote_end(&said) }
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
