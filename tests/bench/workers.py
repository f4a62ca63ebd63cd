#!/usr/bin/env python3
"""How fast several processes train together, beside one process with as many threads.

    python3 tests/bench/workers.py [--runs N] [--rank R] [--batch B] [--launcher mpiexec] [--json FILE]

All train `mid` on the same batches: `workers N` with `world_size=1` makes the optimizer step of one process. The order of
samples stays the same, so that from the second epoch on a worker has the features of the pictures that it gets; only these
epochs count. Runs alternate; the table has medians, and ratios run by run. `others` is how many cores other programs
had meanwhile: above 0.1 a run says little.
"""

import argparse
import json
import os
import re
import statistics
from pathlib import Path

import places
from measure import run
from report import number

ACCUMULATION, EPOCHS = 8, 4
# Workers (none: the process itself computes) and threads of each.
KINDS = {
    "1 process × 2 threads": (0, 2),
    "1 process × 1 thread": (0, 1),
    "1 worker × 2 threads": (1, 2),
    "1 worker × 1 thread": (1, 1),
    "2 workers × 1 thread": (2, 1),
    "4 workers × 1 thread": (4, 1),
}
REFERENCE = "1 process × 2 threads"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="how often each side runs (3)")
    parser.add_argument("--rank", type=int, default=64, help="rank of the adapter (64)")
    parser.add_argument("--batch", type=int, default=2, help=f"samples of a micro-batch, {ACCUMULATION} of which make a step (2)")
    parser.add_argument("--launcher", default="mpiexec")
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--json", type=Path, help="write all figures there")
    arguments = parser.parse_args()
    found = {kind: [] for kind in arguments.only}
    for at in range(arguments.runs):
        for kind in found:
            figures = measure(kind, arguments)
            found[kind].append(figures)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if name != "seconds")
            print(f"  {at + 1}/{arguments.runs} {kind}: {shown}", flush=True)
    print(f"\n{table(found)}\n{processor()}; rank {arguments.rank}, batches of {arguments.batch} × {ACCUMULATION}.")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measure(kind, arguments):
    """Figures of one run."""
    workers, threads = KINDS[kind]
    batch = arguments.batch
    samples = batch * ACCUMULATION
    tune = [
        f"load {places.checkpoint('mid')}",
        f"data bench dataset_dir={places.data()} max_samples={samples}",
        f"lora lora_rank={arguments.rank} lora_alpha={2 * arguments.rank}",
    ]
    if workers:
        tune += [f"workers {workers} threads={threads} launcher={arguments.launcher}", "set world_size=1"]
    options = f"batch={batch} accum={ACCUMULATION} epochs={EPOCHS} disable_shuffling=true"
    tune += [f"train lr=2e-4 logging_steps=1 {options}"] + ["workers"] * bool(workers)
    script = places.script(f"workers-{workers}-{threads}", *tune)
    busy = busy_seconds()
    environment = {} if workers else {"RAYON_NUM_THREADS": str(threads)}
    ran = run([places.tunebook(), "run", script], f"workers-{workers}-{threads}", **environment)
    others = (busy_seconds() - busy - ran.cpu) / ran.seconds
    tokens = int(re.search("tokens per sample .* ([0-9,]+)\n", ran.text)[1].replace(",", ""))
    at = ran.times("step +[0-9]")
    if len(at) != EPOCHS:
        raise SystemExit(f"{len(at)} steps instead of {EPOCHS}:\n{ran.text}")
    steps = [after - before for before, after in zip(at, at[1:])]
    figures = {"rate": tokens / statistics.median(steps), "others": max(0, others)}
    if workers:
        ms = "([0-9,]+) ms"
        last = re.search(f"{ms} computing; {ms} to broadcast .* {ms} to sum .*[(]([0-9.]+) MB", ran.text)
        computing, broadcast, summing = (float(word.replace(",", "")) for word in last.groups()[:3])
        shares = [float(took) for took in re.findall(r"^ [0-9]+ .* ([0-9.]+) s$", ran.text, re.MULTILINE)]
        figures |= {
            "computing": computing / 1000,
            "broadcast": broadcast / 1000,
            "sum": summing / 1000,
            "exchange": 100 * (broadcast + summing) / (computing + broadcast + summing),
            "megabytes": float(last[4]),
            "slowest": max(shares),
            "fastest": min(shares),
        }
    return figures | {"seconds": steps}


def table(found):
    headers = ["", "tokens/s", f"of {REFERENCE}", "slowest / fastest share", "broadcast, ms", "sum, ms", "both, of the step", "others, cores"]
    lines = [headers, ["---"] + ["---:"] * (len(headers) - 1)]
    for kind, runs in found.items():
        of = lambda name: [figures[name] for figures in runs if name in figures]
        median = lambda name, times=1: number(times * statistics.median(of(name))) if of(name) else ""
        pairs = zip(of("rate"), (figures["rate"] for figures in found.get(REFERENCE, [])))
        ratios = [ours / theirs for ours, theirs in pairs]
        shares = [figures["slowest"] / figures["fastest"] for figures in runs if figures.get("fastest")]
        cells = [median("rate"), number(statistics.median(ratios)) if ratios else ""]
        cells += [number(statistics.median(shares)) if shares else "", median("broadcast", 1000), median("sum", 1000)]
        exchange = median("exchange")
        lines.append([kind, *cells, f"{exchange} %" if exchange else "", median("others")])
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    return "".join("| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines)


def busy_seconds():
    """Seconds of all cores, of all programs, since the system started."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _, _, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        fields = dict((part.strip() for part in line.split(":", 1)) for line in file if ":" in line)
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    flags = [flag for flag in known if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', 'an unnamed processor')}, {places.CORES} cores ({', '.join(flags)})"


if __name__ == "__main__":
    main()
