#!/usr/bin/env bash
# Measures each MPI between two hosts: what data takes to the ranks and back. Needs root, ip and tc; see hosts.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/mpi/hosts.sh

cargo test --release --package tunebook-mpi --test ranks --no-run
export TUNEBOOK_TEST_HOSTS=${HOSTS:-10.77.0.1:1,10.77.0.2:1} TUNEBOOK_TEST_NUMBER=${RANKS:-2}
timeout -k 5 "${LIMIT:-120}" "$work/on" $first \
  cargo test --offline --release --package tunebook-mpi --test ranks -- --ignored --exact mpi_is_measured --nocapture ||
  failed=$?
echo "What the launchers called:"
cut -c 1-600 "$work/log"
exit ${failed:-0}
