#!/bin/sh
# Runs the unit tests of the matrix kernels and the operations on an emulated ARM processor, NEON's path among them.
# Of Debian it takes the packages qemu-user, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross, of Rust the target's standard
# library (`rustup target add aarch64-unknown-linux-gnu`) or the component rust-src; 5 minutes.
#
#   tests/aarch64.sh
set -eu
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
. tests/cross/standard_library.sh
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
cargo test --release --package tunebook-gemm --package tunebook-nn --lib --target "$target" $std \
  --target-dir "${CARGO_TARGET_DIR:-target}/aarch64"
