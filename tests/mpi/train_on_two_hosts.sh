#!/usr/bin/env bash
# Trains with a worker on each of two hosts, and alone, and compares. Needs root, ip and tc; see hosts.sh.
#
#   tests/mpi/train_on_two_hosts.sh TUNEBOOK [LAUNCHER …]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/mpi/hosts.sh

tunebook=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- mpiexec

script() {
  cat << EOF
load tests/fixtures/tiny
set dataset_dir=tests/fixtures/train batch=1 accum=4 lr=2e-4 cutoff_len=512 val_size=0.25 epochs=30 logging_steps=1
data creatures
lora
$1
train 12
evaluate
predict max_new_tokens=16
workers
EOF
}
script "" > "$work/alone.tune"
"$work/on" $first "$tunebook" run "$work/alone.tune" > "$work/alone"
failed=0
for launcher in "$@"; do
  script "workers hosts=10.77.0.1,10.77.0.2 threads=1 launcher=$launcher
set world_size=1" > "$work/workers.tune"
  timeout -k 5 "${LIMIT:-120}" "$work/on" $first "$tunebook" run "$work/workers.tune" > "$work/workers" || failed=$?
  sed -n '/^[0-9]* workers/,$p' "$work/workers"
  same() { grep -E '^step|eval_loss|predicted' "$1"; }
  if diff <(same "$work/alone") <(same "$work/workers"); then echo "$launcher: as alone"; else failed=1; fi
done
if grep -q '"token"' "$work/log"; then echo "The token is on a command line."; failed=1; fi
exit $failed
