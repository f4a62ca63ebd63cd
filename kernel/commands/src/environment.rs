//! What a report of a problem needs to say: versions, CPU, memory, devices, and what of other programs is found.
//!
//! The lines are a list in Markdown, as `llamafactory-cli env` prints it, and in English in every language: whoever reads
//! them answers the report. Of the environment, variables are named, and what is in them is not told, since it may be a
//! token.

use std::env::consts;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tunebook_engine::Cancel;
use tunebook_engine::Error;
use tunebook_engine::machine::Machine;
use tunebook_mpi::Launcher;
use tunebook_quote::quote;

use crate::lang::Lang;
use crate::printable::printable;

/// What Python is called. Windows has the other name only in its shop, and none in a virtual environment.
pub const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// How long another program may take to say its version: a broken driver may never answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stop waits to be noticed.
const LOOK_UP: Duration = Duration::from_millis(50);

/// What variables begin with, in capitals, that change what tunebook does: hubs, proxies, threads, devices.
const VARIABLES: [&str; 12] = [
    "ALL_PROXY",
    "CUDA_",
    "HF_",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "HUGGING",
    "MODELSCOPE_",
    "NO_PROXY",
    "RAYON_",
    "TRANSFORMERS_",
    "TUNEBOOK_",
    "USE_MODELSCOPE",
];

/// Python's packages that tunebook is used with, or compared to.
const PACKAGES: [&str; 9] = [
    "jupyterlab",
    "notebook",
    "jupyter_client",
    "ipykernel",
    "papermill",
    "transformers",
    "peft",
    "torch",
    "llamafactory",
];

/// The lines `- KEY: VALUE`.
///
/// # Errors
/// A stop is asked for.
pub fn environment(lang: Lang, cancel: &Cancel) -> Result<String, Error> {
    let machine = Machine::of_this_process();
    let lines = [
        ("tunebook version", env!("CARGO_PKG_VERSION").to_string()),
        ("build", build(&machine)),
        ("system", machine.system),
        ("CPU", machine.cpu),
        ("matrix products", machine.instruction_set.to_string()),
        ("cores", format!("{} ({} threads)", machine.cores, machine.threads)),
        ("memory", memory(machine.memory, machine.available_memory)),
        ("GPU", gpus(cancel)?),
        ("Python", python(cancel)?),
        ("MPI", mpi()),
        ("Rust", said(cancel, "rustc", &["--version"])?.unwrap_or_else(none)),
        ("variables", variables()),
        ("language", format!("{lang:?}").to_lowercase()),
    ];
    let lines = lines.map(|(key, value)| format!("- {key}: {value}"));
    Ok(lines.join("\n"))
}

fn none() -> String {
    "not found".to_string()
}

/// Target and features.
fn build(machine: &Machine) -> String {
    let libc = if cfg!(target_env = "musl") {
        "-musl"
    } else if cfg!(target_env = "gnu") {
        "-gnu"
    } else {
        ""
    };
    let features = [("rust-cells", cfg!(feature = "rust-cells")), ("cuda", machine.is_built_with_cuda)];
    let features: Vec<_> = features.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
    let features =
        if features.is_empty() { "no features".to_string() } else { format!("with {}", features.join(", ")) };
    format!("{}-{}{libc}, {features}", consts::ARCH, consts::OS)
}

fn memory(total: Option<u64>, available: Option<u64>) -> String {
    let gibibytes = |bytes: Option<u64>| {
        bytes.map_or_else(|| "?".to_string(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 30)))
    };
    format!("{} GiB, {} GiB available", gibibytes(total), gibibytes(available))
}

/// Names, memory and driver.
fn gpus(cancel: &Cancel) -> Result<String, Error> {
    let query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
    let found = said(cancel, "nvidia-smi", &query)?;
    Ok(found.map_or_else(|| "none (nvidia-smi is not found)".to_string(), |lines| lines.replace('\n', "; ")))
}

/// Its version, and those of packages that it has. What they import is not run.
fn python(cancel: &Cancel) -> Result<String, Error> {
    let code = format!(
        "import sys, importlib.metadata as m\nfound = {{(d.metadata['Name'] or '').lower().replace('-', '_'): d.version for d in m.distributions()}}\n\
         print(', '.join([sys.version.split()[0]] + [n + ' ' + found[n] for n in {PACKAGES:?} if n in found]))"
    );
    Ok(said(cancel, PYTHON, &["-c", &code])?.unwrap_or_else(none))
}

fn mpi() -> String {
    Launcher::find(None).map_or_else(
        |_| none(),
        |found| format!("{:?} at {}", found.kind(), quote(&found.path().display().to_string())),
    )
}

/// The names of those that are set.
fn variables() -> String {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut names: Vec<_> = names
        .filter(|name| VARIABLES.iter().any(|prefix| name.to_uppercase().starts_with(prefix)))
        .map(|name| quote(&name))
        .collect();
    names.sort_unstable();
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}

/// What a program answers, line by line; `None` if there is no such program, or if it fails.
///
/// # Errors
/// A stop is asked for. The program is left to end by itself.
fn said(cancel: &Cancel, program: &str, arguments: &[&str]) -> Result<Option<String>, Error> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let (sender, received) = mpsc::channel();
    thread::spawn(move || sender.send(command.output()));
    let start = Instant::now();
    loop {
        match received.recv_timeout(LOOK_UP) {
            Ok(Ok(output)) if output.status.success() => {
                let lines = String::from_utf8_lossy(&output.stdout);
                return Ok(Some(lines.lines().map(printable).collect::<Vec<_>>().join("\n")));
            }
            Err(_) if cancel.is_cancelled() => return Err(Error::Cancelled),
            Err(RecvTimeoutError::Timeout) if start.elapsed() < PATIENCE => {}
            Err(RecvTimeoutError::Timeout) => return Ok(Some("does not answer".to_string())),
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_told_and_what_is_not_there_is_not() {
        let cancel = Cancel::default();
        assert_eq!(said(&cancel, "rustc", &["--no-such-option"]).unwrap(), None);
        assert_eq!(said(&cancel, "no-such-program", &[]).unwrap(), None);
        assert!(said(&cancel, "rustc", &["--version"]).unwrap().unwrap().starts_with("rustc 1."));
        cancel.cancel();
        #[cfg(unix)]
        assert!(matches!(said(&cancel, "sleep", &["60"]), Err(Error::Cancelled)));
    }
}
