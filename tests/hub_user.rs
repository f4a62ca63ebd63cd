//! Somebody who uses the binary with a hub on the loopback device.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::loopback_hub::LoopbackHub;

/// A file of the model that LFS keeps.
pub(crate) const SHARD: &str = "model-00002-of-00002.safetensors";
/// What `load` says when the model is there.
pub(crate) const LOADED: &str = "414,288 parameters";

/// Somebody with a home of their own and a hub on the loopback device.
pub(crate) struct User {
    pub hub: LoopbackHub,
    pub home: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self { hub: LoopbackHub::serve(&fixture("tiny"), "Qwen/tiny"), home: tempfile::tempdir().unwrap() }
    }

    /// Pipes a script into the binary: its status and what it wrote.
    pub(crate) fn run(&self, script: &str) -> (i32, String, String) {
        self.run_with(&[], script)
    }

    pub(crate) fn run_with(&self, environment: &[(&str, &str)], script: &str) -> (i32, String, String) {
        finish(self.start(environment, script))
    }

    pub(crate) fn start(&self, environment: &[(&str, &str)], script: &str) -> Child {
        let file = self.home.path().join("script.tune");
        std::fs::write(&file, script).unwrap();
        let mut command = tunebook();
        command.args(["run", "script.tune"]);
        self.at_home(command).envs(environment.iter().copied()).spawn().unwrap()
    }

    /// A program that this user starts, with nothing of our own environment that concerns hubs.
    pub(crate) fn at_home(&self, mut command: Command) -> Command {
        let foreign =
            ["HF_", "HUGGING", "MODELSCOPE_", "USE_MODELSCOPE", "TRANSFORMERS_", "HTTP", "http", "ALL_", "all_"];
        for (name, _) in std::env::vars().filter(|(name, _)| foreign.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", &self.hub.endpoint)
            .env("HF_HOME", self.home.path())
            .env("MODELSCOPE_ENDPOINT", &self.hub.endpoint)
            .env("MODELSCOPE_CACHE", self.home.path().join("ms"))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What the hub was asked for since the last look.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.hub.seen().into_iter().map(|seen| seen.what).collect()
    }
}

/// The status of a program that ends, and what it wrote.
pub(crate) fn finish(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    // Long lines are broken between words.
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace("\n  ", " ");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The file below a folder that is not all there yet, and its size.
pub(crate) fn incomplete(folder: &Path) -> Option<(PathBuf, u64)> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| match entry.path() {
        path if path.is_dir() => incomplete(&path),
        path if path.extension().is_some_and(|end| end == "incomplete") => Some((path, entry.metadata().ok()?.len())),
        _ => None,
    })
}

/// What `look` finds in the end.
pub(crate) fn wait_for<T>(look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it never came");
        thread::sleep(Duration::from_millis(20));
    }
}
