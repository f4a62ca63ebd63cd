#!/bin/sh
# Builds tunebook with CUDA and runs it without a GPU, against a driver that allocates, copies and checks, but computes
# nothing: operands on different devices, kernels that candle does not have, and layouts that it does not take are
# found, wrong numbers are not (the unit tests of kernel/nn find those, on the CPU).
#
#   tests/cuda/check.sh [FOLDER]      (default: target/cuda; the first time about 25 minutes and 5 GB)
set -eu
cd "$(dirname "$0")/../.."
mkdir -p "${1:-target/cuda}"
place=$(cd "${1:-target/cuda}" && pwd)

[ -f "$place/env.sh" ] || sh tests/cuda/toolkit.sh "$place"
. "$place/env.sh"
python3 tests/cuda/null_driver.py "$place/null"
cargo build --release -p tunebook --no-default-features --features cuda --target-dir "$place/target"

rm -rf "$place/out"
sed "s|OUT|$place/out|" tests/cuda/every_verb.tune > "$place/every_verb.tune"
LD_LIBRARY_PATH=$place/null NULL_CUDA_STATS=1 "$place/target/release/tunebook" run "$place/every_verb.tune" 2> "$place/errors" \
    || { cat "$place/errors"; exit 1; }
if grep refused "$place/errors"; then exit 1; fi
tail -1 "$place/errors"
