#!/bin/sh
# Whether the program compiles for Windows and for macOS, without a warning, checked on Linux; 10 minutes each on two cores.
#
#   tests/cross/check.sh [x86_64-pc-windows-gnu] [aarch64-apple-darwin]
#
# The C libraries are compiled, too: for Windows by MinGW (Debian's packages gcc-mingw-w64-x86-64 and g++-mingw-w64-x86-64), for
# macOS by zig, which pip brings. Nothing is linked. Without `rustup target add` the component rust-src is needed.
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- x86_64-pc-windows-gnu aarch64-apple-darwin

tools=${CARGO_TARGET_DIR:-target}/cross-tools
for target in "$@"; do
  case $target in
  *-apple-*)
    if [ ! -x "$tools/bin/cargo-zigbuild" ]; then
      python3 -m venv "$tools"
      "$tools/bin/pip" install --quiet cargo-zigbuild==0.24.1 ziglang==0.17.1
    fi
    PATH=$(realpath "$tools")/bin:$PATH
    clippy="cargo-zigbuild clippy"
    ;;
  *) clippy="cargo clippy" ;;
  esac
  . tests/cross/standard_library.sh
  # Only the compiler's warnings are denied: some of clippy's depend on how large a type is there.
  $clippy --release --workspace --features tunebook/rust-cells --target "$target" $std --keep-going -- \
    --deny warnings --allow clippy::all
done
