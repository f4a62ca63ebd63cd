#!/usr/bin/env python3
"""What a step takes with so many machines, from parts that are measured one by one.

    python3 tests/bench/scaling.py            the measured points beside what the model says, and the tables
    python3 tests/bench/scaling.py measure    measures the parts of which this machine has its own (10 minutes)

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
from dataclasses import dataclass, replace

import places
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
PROCESS_RATE = 3e9


def broadcast(ranks, size, network):
    """Seconds of MPI_Bcast of a long message: of the usual algorithms, that which takes the shortest."""
    if ranks == 1:
        return 0.0
    rounds, part = math.ceil(math.log2(ranks)), (ranks - 1) / ranks
    whole = size / network.rate
    binomial = rounds * (network.latency + whole)
    # Scatter, and a ring that gathers: MPICH from 8 ranks on.
    ring = (rounds + ranks - 1) * network.latency + 2 * part * whole
    # Segments one behind the other, down a binary tree in which a rank sends each segment twice: Open MPI.
    piece = 128 * 1024
    tree = (rounds + 2 * size / piece) * (network.latency / 8 + piece / network.rate) + rounds * network.latency
    return min(binomial, ring, tree)


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
    crowd = parts.crowded if ranks > 1 else 1.0
    computing = alone * crowd * max(1, ranks / cores) * slowest(ranks, parts.spread)
    return dict(
        computing=computing,
        broadcast=size * parts.down + broadcast(ranks, size, parts.network),
        sum=size * parts.up + reduce(ranks, size, parts.network),
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
RANK, LIMIT = 8, 1024


def measure(runs):
    """Measures what the parts come from, and the points that the model is held against."""
    import workers

    given = argparse.Namespace(rank=RANK, batch=2, launcher="mpiexec")
    kinds = ["1 worker × 1 thread", "2 workers × 1 thread", "4 workers × 1 thread"]
    steps = {kind: [] for kind in kinds}
    for _ in range(runs):
        for kind in kinds:
            steps[kind].append(workers.measure(kind, given))
            print(f"  {kind}: {steps[kind][-1]}", flush=True)
    found = dict(
        machine=workers.processor(),
        alone={tokens: statistics.median(alone(tokens, 1)) for tokens in (504, 1008)},
        crowded=statistics.median(alone(1008, places.CORES)),
        mpi={ranks: mpi(ranks) for ranks in (2, 4)},
        steps={kind: medians(figures) for kind, figures in steps.items()},
    )
    MEASURED.write_text(json.dumps(read() | found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def medians(runs):
    names = [name for name in runs[0] if name != "seconds"]
    found = {name: statistics.median(figures[name] for figures in runs) for name in names}
    return found | {"step": statistics.median(second for figures in runs for second in figures["seconds"])}


def alone(tokens, processes):
    """Seconds of the steps of so many processes that know nothing of each other, of a thread each."""
    samples = tokens // 126
    script = places.script(
        f"alone-{tokens}",
        f"load {places.checkpoint('mid')}",
        f"data bench dataset_dir={places.data()} max_samples={samples}",
        f"lora lora_rank={RANK} lora_alpha={2 * RANK}",
        f"train lr=2e-4 logging_steps=1 batch=1 accum={samples} epochs=6 disable_shuffling=true",
    )
    command, environment = [places.tunebook(), "run", script], ENVIRONMENT | {"RAYON_NUM_THREADS": "1"}
    running = [stamped(command, environment) for _ in range(processes)]
    took = []
    for process in running:
        at = [float(line.split(" ", 1)[0]) for line in process.communicate()[0].splitlines() if " step " in line]
        took += [after - before for before, after in zip(at[1:], at[2:])]
    print(f"  {processes} × {tokens} tokens: {', '.join(f'{second:.2f}' for second in took)}", flush=True)
    return took


def stamped(command, environment):
    """A process whose lines begin with the time at which they came."""
    stamp = "import sys, time\nfor line in sys.stdin: print(time.time(), line, end='')"
    of = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, env=environment)
    return subprocess.Popen([places.sys.executable, "-u", "-c", stamp], stdin=of.stdout, stdout=subprocess.PIPE, text=True)


def mpi(ranks):
    """Seconds of broadcast and sum by megabytes: the fastest implementation's."""
    command = "cargo test --release --package tunebook-mpi --test ranks -- --ignored --exact mpi_is_measured --nocapture"
    environment = ENVIRONMENT | {"TUNEBOOK_TEST_NUMBER": str(ranks)}
    text = subprocess.run(command.split(), cwd=places.ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return table_of(text)


def table_of(text):
    """The shortest times of `N MB: broadcast T, sum T`, as the test prints them."""
    found = {}
    units = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
    for megabytes, *times in re.findall(r"(\d+) MB: broadcast ([0-9.]+)(\w*s), sum ([0-9.]+)(\w*s)", text):
        taken = [float(times[at]) * units[times[at + 1]] for at in (0, 2)]
        before = found.get(megabytes, taken)
        found[megabytes] = [min(pair) for pair in zip(before, taken)]
    return found


def read():
    return json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.is_file() else {}

# --- what comes of it ------------------------------------------------------------------------------------------------


def parts_of(found):
    """The parts, from what was measured: none of them from a step of several workers."""
    short, long = (found["alone"][tokens] for tokens in ("504", "1008"))
    token = (long - short) / 504
    one = found["steps"]["1 worker × 1 thread"]
    size = 4 * MID.lora(RANK)
    rest = one["step"] - one["computing"] - one["broadcast"] - one["sum"]
    times = {int(megabytes) * 1e6: both for megabytes, both in found["mpi"]["2"].items()}
    largest = max(times)
    down, both = times[largest]
    # With two ranks, a sum is one message and one addition.
    adding = largest / max(both - down, 1e-6)
    return Parts(
        group=long - 1008 * token,
        token=token,
        crowded=found["crowded"] / long,
        down=one["broadcast"] / size,
        up=one["sum"] / size,
        update=max(0.0, rest) / size,
        spread=found["spread"],
        network=Network(latency=1e-5, rate=largest / down, adding=adding),
    )


def compare(found, parts):
    """Measured steps, and what the model says of them."""
    size, lines = 4 * MID.lora(RANK), []
    for kind, ranks in (("1 worker × 1 thread", 1), ("2 workers × 1 thread", 2), ("4 workers × 1 thread", 4)):
        says = local_step(parts, ranks, places.CORES, 2016, LIMIT, size)
        lines.append(beside(kind, found["steps"][kind], says))
    if over := found["steps"].get("2 hosts"):
        wire = replace(of_gigabits(1), adding=parts.network.adding)
        says = local_step(replace(parts, network=wire), 2, places.CORES, 2016, LIMIT, size)
        lines.append(beside("2 hosts × 1 worker × 1 thread, 1 Gbit/s", over, says))
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
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what:
        measure(arguments.runs)
    found = read()
    parts = parts_of(found)
    for rank in (8, 64):
        parameters = QWEN_3B.lora(rank)
        print(f"Qwen2.5-VL-3B, rank {rank}: {parameters:,} parameters, {4 * parameters / 1e6:.0f} MB")
    print(f"\n{found['machine']}: measured / model\n")
    compare(found, parts)
    # A model takes as much longer as it has more arithmetic.
    rate = 1 / (parts.token + parts.group / 1008) * MID.flop(RANK, 0.3) / QWEN_3B.flop(RANK, 0.3)
    for what, threads in SPEEDS.items():
        clusters(parts, threads * rate, what)
    for what, threads in SPEEDS.items():
        ways(parts, threads * rate, what)


if __name__ == "__main__":
    main()
