#!/usr/bin/env python3
"""How fast several processes train together, beside one process with as many threads.

    python3 tests/bench/workers.py [--steps N] [--rank R] [--batch B] [--launcher mpiexec] [--json FILE]

All train `mid` on the same batches: `workers N` with `world_size=1` makes the optimizer step of one process. An epoch is one
step, and the order of samples stays the same, so that from the second epoch on a worker has the features of the pictures
that it gets; only these epochs count, and of them only steps during which other programs had less than QUIET cores. Runs
alternate until each kind has so many; the table has medians. The CPU's time, of session and workers together, is that of
all steps, since it hardly depends on other programs.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import time
from pathlib import Path

import places
from measure import ENVIRONMENT
from report import number

ACCUMULATION, EPOCHS = 8, 4
QUIET = 0.15
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
    parser.add_argument("--steps", type=int, default=6, help="undisturbed steps of each kind (6)")
    parser.add_argument("--minutes", type=float, default=60, help="no longer than that (60)")
    parser.add_argument("--rank", type=int, default=64, help="rank of the adapter (64)")
    of_step = f"samples of a micro-batch, {ACCUMULATION} of which make a step (2)"
    parser.add_argument("--batch", type=int, default=2, help=of_step)
    parser.add_argument("--launcher", default="mpiexec")
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--json", type=Path, help="add all steps to this file, and count those that are there")
    arguments = parser.parse_args()
    found = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.is_file() else {}
    until = time.time() + 60 * arguments.minutes
    open_kinds = arguments.only
    while open_kinds and time.time() < until:
        for kind in open_kinds:
            wait_for_quiet(until)
            found.setdefault(kind, []).extend(measure(kind, arguments))
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        open_kinds = [kind for kind in arguments.only if len(quiet(found[kind])) < arguments.steps]
    print(f"\n{table(found)}\n{processor()}; rank {arguments.rank}, batches of {arguments.batch} × {ACCUMULATION}.")


def measure(kind, arguments):
    """What each step of a run took, but the first."""
    workers, threads = KINDS[kind]
    batch = arguments.batch
    tune = [
        f"load {places.checkpoint('mid')}",
        f"data bench dataset_dir={places.data()} max_samples={batch * ACCUMULATION}",
        f"lora lora_rank={arguments.rank} lora_alpha={2 * arguments.rank}",
    ]
    if workers:
        tune += [f"workers {workers} threads={threads} launcher={arguments.launcher}", "set world_size=1"]
    options = f"batch={batch} accum={ACCUMULATION} epochs={EPOCHS} disable_shuffling=true"
    # `workers` tells of the last step only.
    tune += [f"train 1 lr=2e-4 logging_steps=1 {options}"]
    tune += [line for _ in range(EPOCHS - 1) for line in ("print go", "train 1", *["workers"] * bool(workers))]
    script = places.script(f"workers-{workers}-{threads}", *tune)
    environment = ENVIRONMENT | ({} if workers else {"RAYON_NUM_THREADS": str(threads)})
    process = subprocess.Popen(
        [places.tunebook(), "run", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    steps, tokens, begun, text = [], 0, None, ""
    for line in process.stdout:
        now = time.perf_counter(), busy_seconds(), cpu_seconds(process.pid)
        text += line
        if line.startswith(" tokens per sample"):
            tokens = int(line.split()[-1].replace(",", ""))
        elif line.startswith("go"):
            begun = now
        elif line.startswith("step") and begun:
            took, busy, ours = (after - before for before, after in zip(begun, now))
            steps.append(dict(step=took, rate=tokens / took, cores=ours / took, others=max(0.0, (busy - ours) / took)))
            if not workers:
                shown(kind, steps[-1])
        elif share := re.match(r" [0-9]+ .* ([0-9.]+) s$", line):
            steps[-1].setdefault("shares", []).append(float(share[1]))
        elif line.startswith("the last step"):
            ms = "([0-9,]+) ms"
            last = re.search(f"{ms} computing; {ms} to broadcast .* {ms} to sum", line)
            computing, broadcast, summing = (float(word.replace(",", "")) / 1000 for word in last.groups())
            steps[-1] |= dict(computing=computing, broadcast=broadcast, sum=summing)
            shown(kind, steps[-1])
    if process.wait() != 0 or len(steps) != EPOCHS - 1:
        raise SystemExit(f"{script} ended with status {process.returncode}:\n{text}")
    return steps


def shown(kind, step):
    figures = ", ".join(f"{name} {value:.3g}" for name, value in step.items() if name != "shares")
    print(f"  {kind}: {figures}", flush=True)


def quiet(steps):
    return [step for step in steps if step["others"] < QUIET]


def wait_for_quiet(until):
    """Until other programs have left the cores alone for some seconds."""
    seconds = 3
    while time.time() < until:
        before = busy_seconds()
        time.sleep(seconds)
        if (busy_seconds() - before) / seconds < QUIET:
            return


def table(found):
    headers = ["", "tokens/s", f"of {REFERENCE}", "CPU, s a step", "slowest / fastest share", "broadcast, ms", "sum, ms"]
    headers += ["both, of the step", "steps", "of them quiet"]
    lines = [headers, ["---"] + ["---:"] * (len(headers) - 1)]
    reference = [step["rate"] for step in quiet(found.get(REFERENCE, []))]
    for kind, steps in found.items():
        # The CPU's time depends little on others, all else does.
        calm, cpu = quiet(steps), number(statistics.median(step["cores"] * step["step"] for step in steps))
        middle = lambda of, calm=calm: number(statistics.median(map(of, calm))) if calm else ""
        rates = [step["rate"] for step in calm]
        ratio = number(statistics.median(rates) / statistics.median(reference)) if rates and reference else ""
        cells = [middle(lambda step: step["rate"]), ratio, cpu]
        if "computing" in steps[0] and calm:
            cells.append(middle(lambda step: max(step["shares"]) / max(min(step["shares"]), 0.01)))
            cells += [middle(lambda step: 1000 * step["broadcast"]), middle(lambda step: 1000 * step["sum"])]
            cells.append(middle(lambda step: 100 * (step["broadcast"] + step["sum"]) / step["step"]) + " %")
        else:
            cells += [""] * 4
        lines.append([kind, *cells, str(len(steps)), str(len(calm))])
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    return "".join("| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines)


def cpu_seconds(root):
    """Seconds of all cores of a process and all that it has started."""
    parents, used = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(fields[1])
        used[int(folder.name)] = sum(map(int, fields[11:15]))
    ours = {root}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(used[pid] for pid in ours if pid in used) / os.sysconf("SC_CLK_TCK")


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
