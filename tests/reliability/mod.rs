//! What a user must not lose, tried many times over: what is left when `tunebook` dies, what becomes of damaged input, and
//! what a session holds after hours of work; see README.md.

// These trace and measure as Linux does.
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod crash;
#[cfg(target_os = "linux")]
mod mutations;
#[cfg(target_os = "linux")]
mod random;
#[cfg(target_os = "linux")]
mod scenario;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod traced;
#[cfg(target_os = "linux")]
mod tree;
