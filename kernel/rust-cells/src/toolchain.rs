//! The programs that Rust cells need.

use std::path::Path;
use std::process::Command;

use tunebook_commands::RustError;

/// # Errors
/// Something is missing: it says what.
pub(crate) fn check() -> Result<(), RustError> {
    // As evcxr looks for them: on the path, or beside this program, which `cargo install` puts where they are.
    let file = |tool: &str| format!("{tool}{}", std::env::consts::EXE_SUFFIX);
    let beside = |tool: &str| std::env::current_exe().is_ok_and(|program| program.with_file_name(file(tool)).is_file());
    let is_missing = |tool: &&str| which::which(tool).is_err() && !beside(tool);
    let mut missing: Vec<_> = ["cargo", "rustc"].into_iter().filter(is_missing).collect();
    // On Windows the compiler finds its linker by itself, and says if it does not.
    if cfg!(unix) && ["cc", "clang", "gcc"].iter().all(|linker| which::which(linker).is_err()) {
        missing.push("cc");
    }
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(RustError::Missing { missing: missing.join(", ") }),
    }
}

/// Whether the standard library's source is there, from which the types of variables are known.
pub(crate) fn has_library_source() -> bool {
    let sysroot = output("rustc", &["--print", "sysroot"]);
    sysroot.is_some_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
