//! What the kernel tells whoever looks after its server.

/// Writes a line to standard error, which a Jupyter server has in its own log.
#[expect(clippy::print_stderr, reason = "the server's log is what this is for")]
pub(crate) fn log(line: &str) {
    eprintln!("{line}");
}
