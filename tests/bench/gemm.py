#!/usr/bin/env python3
"""How fast the matrix kernels are, beside torch's bf16 products on the same cores.

    python3 tests/bench/gemm.py [--runs N]

Both sides multiply in turn, each in a process of its own: x wᵀ and dy w at the shapes of Qwen2.5-VL-3B and of the
`mid` checkpoint, and one row of x, beside reading memory. The weights are in no cache, as in a model, whose layers take
turns. torch's x, y and dx are bf16, ours f32. Rates are medians; ratios are medians of those of each run.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import time

import places
import report
from measure import alternate, run

LINEARS = [(2048, 2048), (2048, 11008), (11008, 2048)]
SMALL = [(896, 896), (896, 128), (896, 4864), (4864, 896)]
MANY = [(rows, *shape) for rows in (256, 1024) for shape in LINEARS] + [(252, *shape) for shape in SMALL]
ONE = [(1, *shape) for shape in [*LINEARS, (896, 896), (896, 4864), (4864, 896)]]
SHAPES = ["x".join(map(str, shape)) for shape in MANY + ONE]
GIB = 1 << 30


def gemm(runs):
    """The rows of the table."""
    command = ["cargo", "build", "--release", "--package", "tunebook-gemm", "--example", "rates"]
    subprocess.run(command, check=True, cwd=places.ROOT)
    ours = [places.ROOT / "target" / "release" / "examples" / "rates", *SHAPES]
    theirs = [places.python(), __file__, "--torch", *SHAPES]
    a, b = alternate(lambda: rates(run(ours, "gemm")), lambda: rates(run(theirs, "gemm-peer")), runs)
    rows = []
    for name in a:
        if name == "memory":
            continue
        decode, packed = name.endswith("decode"), name.endswith("packed")
        # A product with packed weights counts as many bytes as one with bf16, which it replaces.
        theirs = b[name.replace("packed", "decode")]
        rows.append(report.Row(name, "GB/s" if decode or packed else "GFLOP/s", a[name], theirs, "torch"))
        if decode:
            share = [100 * rate / memory for rate, memory in zip(a[name], a["memory"])]
            rows.append(report.Row(f"{name}, of reading memory", "%", share))
    return rows


def rates(found):
    words = (line.rsplit(" ", 1) for _, line in found.lines)
    return {name: float(rate) for name, rate in words}


def torch_side(shapes):
    """What examples/rates.rs prints, of torch."""
    import torch

    torch.set_num_threads(places.CORES)
    for shape in shapes:
        rows, k, n = map(int, shape.split("x"))
        x, dy = (torch.rand(rows, width).bfloat16() for width in (k, n))
        weights = torch.rand(max(1, GIB // (2 * n * k)), n, k, dtype=torch.bfloat16)
        turns = itertools.cycle(weights)
        forward = median(lambda: x @ next(turns).T)
        if rows == 1:
            print(shape, "decode", 2e-9 * n * k / forward, flush=True)
            continue
        gflop = 2e-9 * rows * k * n
        print(shape, "forward", gflop / forward, flush=True)
        print(shape, "backward", gflop / median(lambda: dy @ next(turns)), flush=True)


def median(product):
    product()
    start, times = time.perf_counter(), []
    while len(times) < 7 or time.perf_counter() - start < 0.3:
        before = time.perf_counter()
        product()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def main():
    if sys.argv[1:2] == ["--torch"]:
        return torch_side(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="how often each side runs (5)")
    runs = parser.parse_args().runs
    report.keep("gemm", runs, gemm(runs))
    print("\n" + report.table(["gemm"]))


if __name__ == "__main__":
    main()
