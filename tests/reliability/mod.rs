//! What a user must not lose, tried many times over.

// It measures memory as Linux does.
#[cfg(target_os = "linux")]
mod mutations;
