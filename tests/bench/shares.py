"""Where a run's time goes, from what `perf` sees of it. By itself: python3 tests/bench/shares.py SCRIPT"""

import collections
import re
import shutil
import subprocess
import sys
from pathlib import Path

import places

ATTENTION = "attention"

# A sample of a call stack belongs to the first group of which one of its mangled names is. The kernel's work for fresh
# pages comes first, wherever they are needed; attention's matrix products are attention's.
GROUPS = {
    "fresh memory": r"exc_page_fault|do_syscall_64.*(mmap|munmap|brk|madvise)|^(malloc|calloc|cfree|_int_)",
    ATTENTION: r"3ops\d+attention",
    "moving bytes": r"^__mem(set|cpy|move)",
    "the loss": r"13cross_entropy",
    "the optimizer": r"9optimizer",
    "packing for bf16 products": r"13tunebook_gemm.*(Pack|9transpose)",
    "bf16 products": r"13tunebook_gemm4simd|13tunebook_gemm3amx|13tunebook_gemm8few_rows",
    "f32 products": r"8gemm_f32|11gemm_common|13tunebook_gemm",
    "norms, rope, SwiGLU, sums": r"11tunebook_nn3ops",
    "reading samples and pictures": r"13tunebook_data|5image",
    "other tensor operations": r"11candle_core",
    "waiting": r"10rayon_core|15crossbeam|sched_yield|schedule",
}
OTHER = "the rest"
FREQUENCY = 97
STACK = 16384


def of(script):
    """Percent of the processors' time by group, largest first, in `tunebook run SCRIPT`."""
    if shutil.which("perf") is None:
        raise SystemExit("`perf` is needed to see where time goes; your system has it as a package")
    data = places.CACHE / "perf.data"
    recording = ["perf", "record", "--quiet", "-F", FREQUENCY, "--call-graph", f"dwarf,{STACK}", "-o", data, "--"]
    places.call(*recording, binary(), "run", script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    printing = ["perf", "script", "-i", data, "--no-inline", "--no-demangle", "-F", "ip,sym"]
    printed = subprocess.run([str(word) for word in printing], check=True, capture_output=True, text=True).stdout
    counted = collections.Counter(map(group, printed.strip().split("\n\n")))
    return {name: 100 * count / counted.total() for name, count in counted.most_common()}


def group(stack):
    names = [line.split(maxsplit=1)[-1] for line in stack.splitlines() if line.strip()]
    return next((name for name, pattern in GROUPS.items() if any(re.search(pattern, n) for n in names)), OTHER)


def binary():
    """tunebook with symbols that hold the types of generic code; only the crates of this workspace are built again."""
    return places.build("tunebook-named", RUSTC_WORKSPACE_WRAPPER=str(places.HERE / "name-types.sh"))


if __name__ == "__main__":
    for name, share in of(Path(sys.argv[1])).items():
        print(f"{share:5.1f} %  {name}")
