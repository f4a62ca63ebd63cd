#!/usr/bin/env python3
"""What a step takes with so many machines, from parts that are measured one by one.

    python3 tests/bench/scaling.py            the measured points beside what the model says, and the tables
    python3 tests/bench/scaling.py measure    measures the parts on this machine first (10 minutes)

A step is: the values of what trains go from the session to rank 0 (a socket) and from there to all (MPI_Bcast); each rank
computes its micro-batches; the gradients go back in the same way (MPI_Reduce, the socket); the session updates the values.
See kernel/engine/src/workers. Times are seconds, sizes bytes, rates bytes a second.
"""

import argparse
import heapq
import json
import math
import random
import re
import statistics
import subprocess
from dataclasses import dataclass

import places
import workers
from measure import ENVIRONMENT

# --- what is exchanged -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """The language model, as its config.json has it."""

    hidden: int
    layers: int
    inner: int
    heads: int
    key_heads: int
    vocabulary: int = 151_936

    def linears(self):
        """The shapes of one layer's weights."""
        keys = self.hidden // self.heads * self.key_heads
        yield from [(self.hidden, self.hidden), (keys, self.hidden), (keys, self.hidden), (self.hidden, self.hidden)]
        yield from [(self.inner, self.hidden), (self.inner, self.hidden), (self.hidden, self.inner)]

    def lora(self, rank):
        """Parameters of LoRA on all of them."""
        return self.layers * sum(rank * (out + into) for out, into in self.linears())

    def flop(self, rank, learned):
        """A token's, as floor.py has it; `learned` is the share of tokens that are."""
        frozen = self.layers * sum(out * into for out, into in self.linears())
        return 4 * frozen + 6 * self.lora(rank) + 4 * learned * self.vocabulary * self.hidden


MID = Text(hidden=896, layers=24, inner=4864, heads=14, key_heads=2)
QWEN_3B = Text(hidden=2048, layers=36, inner=11008, heads=16, key_heads=2)

# --- the network -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A message of n bytes takes `latency` + n / `rate`, and adding n bytes up n / `adding`."""

    latency: float
    rate: float
    adding: float = 3e9


def of_gigabits(gigabits):
    """Ethernet with TCP, of which 94 % are data. One rank's TCP does not take more than `PROCESS_RATE`."""
    return Network(latency=50e-6, rate=min(0.94 * gigabits * 1e9 / 8, PROCESS_RATE))


# What MPI over TCP brings to a process where the network does not limit it.
PROCESS_RATE = 2e9


def broadcast(ranks, size, network):
    """Seconds of MPI_Bcast of a long message: a binomial tree of few ranks, or the better of the usual two for many."""
    if ranks == 1:
        return 0.0
    rounds, part = math.ceil(math.log2(ranks)), (ranks - 1) / ranks
    whole = size / network.rate
    if ranks < 8:
        return rounds * (network.latency + whole)
    # Scatter, and a ring that gathers: MPICH.
    ring = (rounds + ranks - 1) * network.latency + 2 * part * whole
    # Segments one behind the other, down a binary tree in which a rank sends each segment twice: Open MPI.
    piece = 128 * 1024
    tree = (rounds + 2 * size / piece) * (network.latency / 8 + piece / network.rate) + rounds * network.latency
    return min(ring, tree)


def reduce(ranks, size, network):
    """Seconds of MPI_Reduce of a long message."""
    if ranks == 1:
        return 0.0
    rounds, part = math.ceil(math.log2(ranks)), (ranks - 1) / ranks
    whole, adding = size / network.rate, size / network.adding
    binomial = rounds * (network.latency + whole + adding)
    # Rabenseifner 2004: each rank sums a part, and rank 0 gathers the parts.
    halving = 2 * rounds * network.latency + 2 * part * whole + part * adding
    return min(binomial, halving)


def allreduce(ranks, size, network):
    """Seconds of MPI_Allreduce of a long message, by halving and doubling."""
    if ranks == 1:
        return 0.0
    rounds, part = math.ceil(math.log2(ranks)), (ranks - 1) / ranks
    return 2 * rounds * network.latency + 2 * part * size / network.rate + part * size / network.adding


# --- the parts -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """What was measured. `sockets` are between session and rank 0."""

    group: float
    """A group of micro-batches takes this and `token` for each token, with one thread on a core of its own."""
    token: float
    crowded: float
    """How many times that it takes where all cores of the machine compute as well."""
    down: float
    """Seconds a byte of the values, from the session's tensors to rank 0's, without MPI."""
    each: float
    """Seconds a tensor of the values."""
    up: float
    """Seconds a byte of the gradients, from rank 0's tensors to the session's."""
    update: float
    """Seconds a byte of the values: clipping and AdamW in the session."""
    spread: float
    """Standard deviation of the time of equal shares, relative to it."""
    network: Network
    """Between two ranks of this machine."""


def share_out(costs, ranks):
    """The greatest share, as kernel/engine/src/workers/share.rs shares out."""
    loads = [0.0] * ranks
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(loads, loads[0] + cost)
    return max(loads)


def slowest(ranks, spread):
    """The expected greatest of so many normal times with mean 1."""
    if ranks == 1:
        return 1.0
    # Blom 1958.
    return 1 + spread * statistics.NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


def local_step(parts, ranks, cores, tokens, limit, size):
    """Parts of a step in which so many ranks of one machine, of a thread each, share out micro-batches of equal length."""
    share = tokens / ranks
    groups = math.ceil(share / limit)
    alone = groups * parts.group + share * parts.token
    crowd, turns = parts.crowded if ranks > 1 else 1.0, max(1, ranks / cores)
    computing = alone * crowd * turns * slowest(ranks, parts.spread)
    return dict(
        computing=computing,
        broadcast=size * parts.down + (TENSORS - FEW_TENSORS) * parts.each + turns * broadcast(ranks, size, parts.network),
        sum=size * parts.up + turns * reduce(ranks, size, parts.network),
        update=size * parts.update,
    )


# --- clusters --------------------------------------------------------------------------------------------------------

SAMPLE = 450
"""Tokens: a picture of 640 × 480 and a short text."""
BATCH = 2
LENGTHS = 0.25
"""Standard deviation of a sample's tokens, relative to them."""
TEXT, JSON = 12, 300e6
"""Bytes that a token is on its way to a worker; bytes of such text that the session writes a second."""
BACKWARD = 0.6
"""The backward pass's part of computing."""


@dataclass(frozen=True)
class Way:
    """How a step is done; the defaults are how it is."""

    halved: bool = False
    """In bfloat16."""
    overlapped: bool = False
    """Gradients are summed while the backward pass of the last group goes on."""
    everywhere: bool = False
    """MPI_Allreduce, and an optimizer on every rank."""


def cluster_step(parts, machines, gigabits, speed, parameters, accumulation, way=Way()):
    """Parts of a step with one rank a machine that computes so many tokens a second, `world_size` being the machines."""
    network = of_gigabits(gigabits)
    size = parameters * (2 if way.halved else 4)
    rng = random.Random(machines * 1000 + accumulation)
    draws = 5 if machines * accumulation < 4000 else 2
    sample = lambda: SAMPLE * max(0.2, rng.gauss(1, LENGTHS))
    shares = []
    for _ in range(draws):
        costs = [sum(sample() for _ in range(BATCH)) for _ in range(machines * accumulation)]
        shares.append(share_out(costs, machines))
    computing = statistics.mean(shares) / speed * slowest(machines, parts.spread)
    ideal = BATCH * accumulation * SAMPLE / speed
    text = machines * accumulation * BATCH * SAMPLE * TEXT
    samples = text / JSON + text * (machines - 1) / machines / network.rate
    update = 4 * parameters * parts.update
    if way.everywhere:
        found = dict(broadcast=0.0, sum=allreduce(machines, size, network))
    else:
        found = dict(
            broadcast=size * parts.down + broadcast(machines, size, network),
            sum=size * parts.up + reduce(machines, size, network),
        )
    if way.overlapped:
        hidden = min(reduce(machines, size, network), BACKWARD * computing / max(1, ideal * speed / 1024))
        found["sum"] -= hidden
    return dict(ideal=ideal, computing=computing, samples=samples, update=update, **found)


def seconds(step):
    return sum(value for name, value in step.items() if name != "ideal")


MACHINES, NETWORKS = (8, 64, 256, 1024), (1, 10, 100)

# --- measuring -------------------------------------------------------------------------------------------------------

MEASURED = places.HERE / "scaling.json"
LIMIT = 1024
RANK, TENSORS = 8, 24 * 7 * 2
# Ranks of an adapter on one of seven linears, which has few tensors for its bytes.
FEW, FEW_TENSORS = (32, 128), 24 * 2
TOKENS = (252, 504, 1008)


def measure():
    """Measures what the parts come from, and the exchanges and steps that the model is held against.

    `crowded` and `spread` stay as they are in the file: they were measured by two processes at once that knew nothing of
    each other, and estimated. Exchanges between hosts stay too: what a second host is, is for whoever has one."""
    exchanges = [one for one in read()["exchanges"] if "hosts" in one]
    exchanges += [exchange("all", RANK, 1)]
    exchanges += [exchange("down_proj", rank, workers) for workers in (1, 2, 4) for rank in FEW]
    found = dict(
        machine=workers.processor(),
        alone={str(tokens): alone(tokens) for tokens in TOKENS},
        exchanges=exchanges,
        steps={kind: step(kind) for kind in KINDS},
    )
    MEASURED.write_text(json.dumps(read() | found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


KINDS = {"1 worker × 1 thread": 1, "2 workers × 1 thread": 2, "4 workers × 1 thread": 4}


def step(kind):
    """Medians of the steps of 8 samples that were not disturbed."""
    given = argparse.Namespace(rank=RANK, batch=1, launcher="mpiexec")
    steps = workers.quiet(workers.measure(kind, given)) or workers.measure(kind, given)
    return {name: statistics.median(one[name] for one in steps) for name in ("step", "computing", "broadcast", "sum")}


def alone(tokens):
    """CPU seconds of a step of one process with one thread: of several, the fewest."""
    samples, repeats = tokens // 126, 4
    options = f"batch=1 accum={samples} epochs={repeats + 1} disable_shuffling=true"
    ran = tune(f"alone-{tokens}", samples, f"lora_rank={RANK}", [], options, repeats, {"RAYON_NUM_THREADS": "1"})
    return min(after - before for before, after in zip(ran, ran[1:]))


def exchange(target, rank, ranks):
    """The shortest broadcast and sum of several steps of a sample a worker."""
    repeats = 5
    lines = [f"workers {ranks} threads=1", "set world_size=1"]
    options = f"batch=1 accum={ranks} epochs={repeats} disable_shuffling=true"
    text = tune("exchange", ranks, f"lora_rank={rank} lora_target={target}", lines, options, repeats)
    ms = "([0-9,]+) ms"
    pairs = re.findall(f"{ms} to broadcast .* {ms} to sum .*[(]([0-9.]+) MB", text)[1:]
    numbers = [[float(word.replace(",", "")) for word in pair] for pair in pairs]
    down, up = (min(one[at] for one in numbers) / 1000 for at in (0, 1))
    tensors = TENSORS if target == "all" else FEW_TENSORS
    return dict(ranks=ranks, bytes=1e6 * numbers[0][2], tensors=tensors, broadcast=down, sum=up)


def tune(name, samples, adapter, lines, options, repeats, environment=None):
    """Steps one by one: what the program says, or with `environment` its CPU seconds at each step."""
    every = ["train 1", "workers"] if lines else ["train 1"]
    script = places.script(
        name,
        f"load {places.checkpoint('mid')}",
        f"data bench dataset_dir={places.data()} max_samples={samples}",
        f"lora {adapter}",
        *lines,
        f"set lr=1e-5 logging_steps=1 {options}",
        *every * repeats,
    )
    environment_of_all = ENVIRONMENT | (environment or {})
    process = subprocess.Popen(
        [places.tunebook(), "run", script], stdout=subprocess.PIPE, text=True, env=environment_of_all
    )
    text, at = "", []
    for line in process.stdout:
        text += line
        if line.startswith("step"):
            at.append(workers.cpu_seconds(process.pid))
    if process.wait() != 0:
        raise SystemExit(f"{script} ended with status {process.returncode}:\n{text}")
    return text if environment is None else at


def read():
    return json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.is_file() else {}


# --- what comes of it ------------------------------------------------------------------------------------------------


def parts_of(found):
    """The parts, from what was measured: none of them from a step of several workers."""
    times = [(int(tokens), took) for tokens, took in found["alone"].items()]
    fit = statistics.linear_regression(*zip(*times))
    # The exchange with one worker has no MPI in it.
    many = next(one for one in found["exchanges"] if one["tensors"] == TENSORS)
    few = [one for one in found["exchanges"] if one["tensors"] == FEW_TENSORS and "hosts" not in one]
    by = {(one["ranks"], one["bytes"]): one for one in few}
    small, large = sorted({one["bytes"] for one in few})
    pair = by[2, large]
    both = pair["broadcast"] - by[1, large]["broadcast"], pair["sum"] - by[1, large]["sum"]
    one = found["steps"]["1 worker × 1 thread"]
    rest = one["step"] - one["computing"] - one["broadcast"] - one["sum"]
    return Parts(
        group=max(0.0, fit.intercept),
        token=fit.slope,
        crowded=found["crowded"],
        down=by[1, large]["broadcast"] / large,
        each=max(0.0, many["broadcast"] - by[1, small]["broadcast"]) / (TENSORS - FEW_TENSORS),
        up=by[1, large]["sum"] / large,
        update=max(0.0, rest) / (4 * MID.lora(RANK)),
        spread=found["spread"],
        network=Network(latency=1e-5, rate=large / both[0], adding=large / max(both[1] - both[0], large / 10e9)),
    )


def compare(found, parts):
    """Measured exchanges and steps, and what the model says of them."""
    lines = []
    for one in found["exchanges"]:
        wire = of_gigabits(1) if "hosts" in one else parts.network
        size, ranks = one["bytes"], one["ranks"]
        turns = max(1, ranks / places.CORES)
        down = size * parts.down + (one["tensors"] - FEW_TENSORS) * parts.each + turns * broadcast(ranks, size, wire)
        up = size * parts.up + turns * reduce(ranks, size, wire)
        what = f"{one.get('hosts', 1)} × {ranks // one.get('hosts', 1)}"
        off = [f"{100 * (says / one[name] - 1):+.0f} %" for name, says in (("broadcast", down), ("sum", up))]
        pairs = [f"{1000 * one[name]:.0f} / {1000 * says:.0f}" for name, says in (("broadcast", down), ("sum", up))]
        lines.append([what, f"{size / 1e6:.1f}", str(one["tensors"]), pairs[0], off[0], pairs[1], off[1]])
    print(table(["hosts × workers", "MB", "tensors", "broadcast, ms", "off by", "sum, ms", "off by"], lines))
    size, lines = 4 * MID.lora(RANK), []
    for kind, ranks in KINDS.items():
        if kind in found["steps"]:
            says = local_step(parts, ranks, places.CORES, 1008, LIMIT, size)
            lines.append(beside(kind, found["steps"][kind], says))
    print(table(["", "computing, s", "broadcast, ms", "sum, ms", "step, s", "off by"], lines))


def beside(kind, measured, says):
    step = seconds(says)
    pair = lambda name, times, digits: f"{times * measured[name]:.{digits}f} / {times * says[name]:.{digits}f}"
    cells = [pair("computing", 1, 2), pair("broadcast", 1000, 0), pair("sum", 1000, 0)]
    return [kind, *cells, f"{measured['step']:.2f} / {step:.2f}", f"{100 * (step / measured['step'] - 1):+.0f} %"]


def clusters(parts, speed, what):
    """Step and efficiency, by machines, network, rank of the adapter and accumulation."""
    headers = ["machines", "Gbit/s"] + [f"r={rank}, accum {accum}" for rank in (8, 64) for accum in (1, 8)]
    lines = []
    for machines in MACHINES:
        for gigabits in NETWORKS:
            cells = []
            for rank in (8, 64):
                for accumulation in (1, 8):
                    step = cluster_step(parts, machines, gigabits, speed, QWEN_3B.lora(rank), accumulation)
                    cells.append(f"{seconds(step):.2f} s, {100 * step['ideal'] / seconds(step):.0f} %")
            lines.append([f"{machines:,}", str(gigabits), *cells])
    print(f"{what}: {speed:,.0f} tokens/s a machine\n\n{table(headers, lines)}")


def ways(parts, speed, what, gigabits=10):
    """How many times as fast a step is if it is done in other ways."""
    known = {
        "accumulation 8, per sample": None,
        "bfloat16": Way(halved=True),
        "overlap": Way(overlapped=True),
        "allreduce, optimizer everywhere": Way(everywhere=True),
    }
    lines = []
    for rank in (8, 64):
        for accumulation in (1, 8):
            for machines in MACHINES:
                model = parts, machines, gigabits, speed, QWEN_3B.lora(rank)
                now = seconds(cluster_step(*model, accumulation))
                cells = []
                for way in known.values():
                    if way is None:
                        then = seconds(cluster_step(*model, 8)) / 8 * accumulation
                    else:
                        then = seconds(cluster_step(*model, accumulation, way))
                    cells.append(f"{now / then:.2f}")
                lines.append([str(rank), str(accumulation), f"{machines:,}", f"{now:.2f} s", *cells])
    print(f"{what}, {gigabits} Gbit/s:\n\n{table(['rank', 'accum', 'machines', 'now', *known], lines)}")


def table(headers, lines):
    lines = [headers, ["---"] + ["---:"] * (len(headers) - 1), *lines]
    widths = [max(len(line[at]) for line in lines) for at in range(len(headers))]
    return "".join("| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines)


# Machines as fast as so many threads of the one that was measured, and their names.
SPEEDS = {"a PC, 8 threads like those measured": 8, "a server, 160 of them": 160}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["measure"])
    arguments = parser.parse_args()
    if arguments.what:
        measure()
    found = read()
    parts = parts_of(found)
    for rank in (8, 64):
        parameters = QWEN_3B.lora(rank)
        print(f"Qwen2.5-VL-3B, rank {rank}: {parameters:,} parameters, {4 * parameters / 1e6:.0f} MB")
    print(f"\n{found['machine']}: measured / model\n")
    compare(found, parts)
    # A model takes as much longer as it has more arithmetic.
    rate = 1 / (parts.token + parts.group / 1008) / parts.crowded * MID.flop(RANK, 0.3) / QWEN_3B.flop(RANK, 0.3)
    for what, threads in SPEEDS.items():
        clusters(parts, threads * rate, what)
    for what, threads in SPEEDS.items():
        ways(parts, threads * rate, what)


if __name__ == "__main__":
    main()
