//! Why the kernel cannot serve.

use std::path::PathBuf;

use tunebook_quote::message;

/// The result of serving or installing the kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the kernel cannot serve, or cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error(
        "{} is not a Jupyter connection file: {}; give the file that Jupyter wrote",
        .path.display(), message(&.source.to_string())
    )]
    ConnectionFile { path: PathBuf, source: serde_json::Error },
    #[error("{} signs messages with `{scheme}`; only hmac-sha256 is supported", .path.display())]
    SignatureScheme { path: PathBuf, scheme: String },
    #[error("cannot open the {channel} socket: {problem}; is another kernel using its port?")]
    Bind { channel: &'static str, problem: String },
    #[error("cannot reach the kernel's {channel} socket: {problem}; is the kernel still running?")]
    Connect { channel: &'static str, problem: String },
    #[error("cannot start: {0}")]
    Start(std::io::Error),
    #[error("the kernel does not answer; it has ended, or its connection file is out of date")]
    NoAnswer,
    #[error(
        "no running tunebook kernel was found in {}; open a notebook with it, or give a connection file",
        .0.display()
    )]
    NoKernel(PathBuf),
    #[error(
        "there is no kernel of tunebook's in {}; `tunebook kernel list` shows where it is installed",
        .0.display()
    )]
    NotInstalled(PathBuf),
    #[error("{} is another kernel's; choose another name with --name", .0.display())]
    AnotherKernel(PathBuf),
    #[error("a kernel cannot be named `{0}`; Jupyter takes ASCII letters, digits and the signs - . _")]
    KernelName(String),
    #[error("the home folder is unknown; give a place with --prefix")]
    NoHome,
    #[error("{python} does not say where its environment is ({problem}); give a place with --prefix")]
    NoSysPrefix { python: &'static str, problem: String },
}
