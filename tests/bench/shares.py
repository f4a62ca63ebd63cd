"""Where a run's time goes, from what `perf` sees of it. By itself: python3 tests/bench/shares.py SCRIPT"""

import collections
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import places

ATTENTION = "attention"

# A sample of a call stack belongs to the first group that has one of its mangled names. The kernel's work for fresh
# pages comes first, wherever they are needed; then what an operation does, the matrix products in it included.
GROUPS = {
    "fresh memory": r"exc_page_fault|do_syscall_64.*(mmap|munmap|brk|madvise)|^(malloc|calloc|cfree|_int_)",
    "moving bytes": r"^__mem(set|cpy|move)",
    ATTENTION: r"3ops\d+attention",
    "the head and the loss": r"13cross_entropy",
    "the optimizer": r"9optimizer",
    "norms, rope, SwiGLU": r"8rms_norm|3ops4rope|6swiglu|7dropout",
    "matrix products": r"13tunebook_gemm|11lora_linear|3ops6linear|4gemm",
    "pictures": r"13tunebook_data|6vision|5image",
    "other tensor operations": r"11candle_core",
    "waiting for work": r"10rayon_core|15crossbeam|sched_yield|schedule",
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
    """tunebook with mangled names that hold the types of generic code, so that a worker's stack tells what it does."""
    target = places.CACHE / "profile"
    flags = {**os.environ, "RUSTFLAGS": "-C symbol-mangling-version=v0"}
    build = ["cargo", "build", "--release", "--package", "tunebook", "--target-dir", target]
    places.call(*build, cwd=places.ROOT, env=flags)
    return target / "release" / "tunebook"


if __name__ == "__main__":
    for name, share in of(Path(sys.argv[1])).items():
        print(f"{share:5.1f} %  {name}")
