#!/usr/bin/env python3
"""How fast tunebook is, beside LLaMA-Factory and transformers on the same machine.

    python3 tests/bench/bench.py [train|families|decode|predict|load|start|length|memory|profile|all]
                                 [--runs N] [--update-readme]

The two sides run in turn, each as a process of its own; the table has medians, and ratios run by run. What is needed
is made on first use below target/bench: an environment with the Python peers (Python 3.11 or later; some 6 GB),
checkpoints with random weights (`mid` 1.1 GB, the smallest of each family 4 to 8 GB), data. The results also go to target/bench/results.json.
TUNEBOOK_BENCH_PYTHON names a Python that has the peers already, TUNEBOOK_BENCH_BINARY a tunebook that is built.
"""

import argparse
import re
import statistics
import tempfile
from itertools import pairwise

import floor
import places
import report
import shares
from measure import alternate, first_prompt, run
from report import Row

RANK, BATCH, ACCUMULATION, EPOCHS = 64, 2, 4, 2
SMALL_RANK = 8
# Checkpoints, with their chat templates.
SMALLEST = {"3b": "qwen2_vl", "qwen2-vl-2b": "qwen2_vl", "qwen3-vl-2b": "qwen3_vl_nothink"}
LORA = f"lora lora_rank={RANK} lora_alpha={2 * RANK}"
BATCHES = f"batch={BATCH} accum={ACCUMULATION}"
QUESTION = "Describe this picture."
ANSWER = 64
SAMPLES, PREDICT_BATCHES = 32, [1, 2, 4, 8, 16]
LENGTHS = [512, 1024, 2048, 4096]
STARTS = 20
GIB = 1 << 30


def main():
    benchmarks = {b.__name__: b for b in (train, families, decode, predict, load, start, length, memory, profile)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", nargs="*", default=["all"], choices=[*benchmarks, "all"])
    parser.add_argument("--runs", type=int, default=5, help="how often each side runs (5)")
    parser.add_argument("--update-readme", action="store_true", help="write all results so far into tests/bench/README.md")
    arguments = parser.parse_args()
    names = list(benchmarks) if "all" in arguments.benchmark else arguments.benchmark
    tunebook = places.tunebook()
    for name in names:
        print(f"{name}: {benchmarks[name].__doc__.splitlines()[0]}", flush=True)
        report.keep(name, arguments.runs, benchmarks[name](tunebook, arguments.runs))
    print("\n" + report.table(names))
    if arguments.update_readme:
        report.update_readme()


def train(tunebook, runs):
    """LoRA on all linears of `mid`, one picture a sample; from the second epoch on we know the pictures' features."""
    checkpoint, data = places.checkpoint("mid"), places.data()
    chosen = choose("bench", checkpoint, data)
    sizes = run([tunebook, "run", places.script("sizes", *chosen)], "sizes")
    samples = sizes.number("([0-9,]+) samples? to train on")
    # The last column is the sum of all samples.
    tokens, learned = (sizes.number(f"{row} .* ([0-9,]+)(?:\n|$)") for row in ("tokens per sample", "supervised"))
    steps = samples // (BATCH * ACCUMULATION)
    ours = places.script("train", *chosen, LORA, train_line(f"{BATCHES} epochs={EPOCHS}"))
    dtype = places.peers_dtype()
    typed, out = places.typed(checkpoint, dtype), places.CACHE / "llamafactory"
    theirs = peer("train", typed, dtype, data, out, RANK, BATCH, ACCUMULATION, EPOCHS)

    def figures(found):
        at = found.times("step +[0-9]")
        return {
            # Without the first step, in which both sides warm up.
            "first": tokens * (steps - 1) / steps / (at[steps - 1] - at[0]),
            "later": tokens * (EPOCHS - 1) / (at[-1] - at[steps - 1]),
            "start": at[0],
            "peak": found.peak / GIB,
        }

    a, b = alternate(
        lambda: figures(run([tunebook, "run", ours], "train")), lambda: figures(run(theirs, "train-peer")), runs
    )
    shapes = floor.linears(checkpoint)
    flop = floor.flop_a_token(checkpoint, RANK, learned / tokens)
    flops = 1e9 * float(run(peer("rate", dtype, BATCH * tokens // samples, *shapes), "rate").find("rate (.*)"))
    share_a, share_b = ([100 * flop * rate / flops for rate in side["later"]] for side in (a, b))
    name = "LLaMA-Factory" if dtype == "bfloat16" else f"LLaMA-Factory in {dtype}"
    return [
        Row("training, first epoch", "tokens/s", a["first"], b["first"], name),
        Row("training, second epoch", "tokens/s", a["later"], b["later"], name),
        Row(f"its products, of the {flops / 1e9:,.0f} GFLOP/s of torch's alone", "%", share_a, share_b, name),
        Row("training, start to first step", "s", a["start"], b["start"], name),
        Row("training, peak memory", "GiB", a["peak"], b["peak"], name),
    ]


def families(tunebook, runs):
    """A step of the smallest published shapes of each family on one picture of 640 × 480 and a short text."""
    data, dtype, rows, steps = places.data(), places.peers_dtype(), [], 3
    for size, template in SMALLEST.items():
        checkpoint = places.checkpoint(size)
        chosen = choose("large", checkpoint, data, f"template={template}")
        train = train_line(f"max_steps={steps} batch=1 accum=1")
        ours = places.script(size, *chosen, f"lora lora_rank={SMALL_RANK} lora_alpha={2 * SMALL_RANK}", train)
        typed, out = places.typed(checkpoint, dtype), places.CACHE / "llamafactory"
        theirs = peer("train", typed, dtype, data, out, SMALL_RANK, 1, 1, steps / 4, "large", template)

        def figures(found, steps=steps):
            at = found.times("step +[0-9]")
            return {"step": (at[-1] - at[0]) / (steps - 1), "peak": found.peak / GIB}

        a, b = alternate(
            lambda ours=ours, size=size: figures(run([tunebook, "run", ours], size)),
            lambda theirs=theirs, size=size: figures(run(theirs, f"{size}-peer")),
            runs,
        )
        name = "LLaMA-Factory" if dtype == "bfloat16" else f"LLaMA-Factory in {dtype}"
        rows.append(Row(f"{size}, a step on a picture of 640 × 480", "s", a["step"], b["step"], name))
        rows.append(Row(f"{size}, peak memory", "GiB", a["peak"], b["peak"], name))
    return rows


def decode(tunebook, runs):
    """Greedy answers of `mid` to a question about a picture, another one every time."""
    checkpoint, data = places.checkpoint("mid"), places.data()
    # Tokens. The first turn is not counted, as both sides warm up; we pack weights meanwhile.
    turns = [ANSWER, 1, ANSWER, 1, ANSWER]
    asked = [f"chat image={data / f'{i}.png'} max_new_tokens={n} {QUESTION}" for i, n in enumerate(turns)]
    lines = [f"load {checkpoint}", "set do_sample=false", "print go"]
    ours = places.script("decode", *lines, *(line for ask in asked for line in (ask, "print go", "chat clear")))
    theirs = peer("decode", checkpoint, QUESTION, *(f"{n}:{data / f'{i}.png'}" for i, n in enumerate(turns)))

    def figures(found):
        took = [after - before for before, after in pairwise(found.times("go$"))]
        first = statistics.mean([took[1], took[3]])
        whole = statistics.mean([took[2], took[4]])
        return {"first": 1000 * first, "rate": (ANSWER - 1) / (whole - first), "peak": found.peak / GIB}

    def tunebook_side():
        found = run([tunebook, "run", ours], "decode")
        made = re.findall(r"answer (\d+) tokens? in", found.text)
        if made != list(map(str, turns)):
            raise SystemExit(f"answers of {made} tokens instead of {turns}:\n{found.text}")
        return figures(found)

    a, b = alternate(tunebook_side, lambda: figures(run(theirs, "decode-peer")), runs)
    name = "transformers"
    return [
        Row("answering", "tokens/s", a["rate"], b["rate"], name),
        Row("question with a picture to first token", "ms", a["first"], b["first"], name),
        Row("answering, peak memory", "GiB", a["peak"], b["peak"], name),
    ]


def predict(tunebook, runs):
    """Greedy answers of `mid` to the samples of `bench`, beside each peer at its fastest batch size.

    LLaMA-Factory scores the answers when all are there, and that is not counted; we do so in between."""
    checkpoint, data, dtype = places.checkpoint("mid"), places.data(), places.peers_dtype()
    greedy = f"set do_sample=false repetition_penalty=1 max_new_tokens={ANSWER}"
    asked = ["print go", f"predict bench max_samples={SAMPLES}", "print go"]
    ours = places.script("predict", *choose("bench", checkpoint, data), greedy, *asked)

    def figures(found):
        at = found.times("go$")
        return {"rate": SAMPLES * ANSWER / (at[-1] - at[0]), "peak": found.peak / GIB}

    def tunebook_side():
        found = run([tunebook, "run", ours], "predict")
        # Then each has ANSWER tokens.
        whole = found.number("([0-9,]+) answers? stopped at max_new_tokens")
        if whole != SAMPLES:
            raise SystemExit(f"{whole} whole answers instead of {SAMPLES}:\n{found.text}")
        return figures(found)

    def peer_side(name, batch):
        typed = places.typed(checkpoint, dtype)
        return figures(run(peer(name, typed, dtype, data, batch, ANSWER, SAMPLES), f"{name}-peer-{batch}"))

    def fastest(shown, name):
        rates = {}
        for batch in PREDICT_BATCHES:
            found = peer_side(name, batch)
            rates[batch] = found["rate"]
            print(f"  {shown}, batches of {batch}: rate {found['rate']:.4g}, peak {found['peak']:.4g}", flush=True)
        return max(rates, key=rates.get)

    rows = []
    for shown, name in ("LLaMA-Factory", "predict"), ("transformers", "generate"):
        batch = fastest(shown, name)
        a, b = alternate(tunebook_side, lambda name=name, batch=batch: peer_side(name, batch), runs)
        shown += f", batches of {batch}" + ("" if dtype == "bfloat16" else f", in {dtype}")
        rows.append(Row(f"answering {SAMPLES} samples", "tokens/s", a["rate"], b["rate"], shown))
        rows.append(Row(f"answering {SAMPLES} samples, peak memory", "GiB", a["peak"], b["peak"], shown))
    return rows


def load(tunebook, runs):
    """Opening `3b` with its tokenizer and image processor; imports are not counted."""
    checkpoint = places.checkpoint("3b")
    ours = places.script("load", "print go", f"load {checkpoint}", "print go")

    def figures(found):
        before, after = found.times("go$")
        return {"time": 1000 * (after - before), "peak": found.peak / GIB}

    a, b = alternate(
        lambda: figures(run([tunebook, "run", ours], "load")),
        lambda: figures(run(peer("load", checkpoint), "load-peer")),
        runs,
    )
    name = "transformers"
    return [
        Row("opening a 3B model", "ms", a["time"], b["time"], name),
        Row("opening a 3B model, peak memory", "GiB", a["peak"], b["peak"], name),
    ]


def start(tunebook, runs):
    """From the command to the first prompt."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = {"XDG_DATA_HOME": folder, "IPYTHONDIR": folder}
        a, b = alternate(
            lambda: {"time": 1000 * first_prompt([tunebook], b"tunebook> ", fresh)},
            lambda: {"time": 1000 * first_prompt([places.python(), "-m", "IPython"], b"In [", fresh)},
            max(runs, STARTS),
        )
    version = [places.python().with_name("llamafactory-cli"), "version"]
    c = [1000 * run(version, "version").seconds for _ in range(runs)]
    return [
        Row("start to first prompt", "ms", a["time"], b["time"], "IPython"),
        Row("start to first prompt", "ms", a["time"], c, "llamafactory-cli version"),
    ]


def length(tunebook, runs):
    """A step of `mid` on one text, cut to several lengths; half of it is learned."""
    checkpoint, data = places.checkpoint("mid"), places.data()
    rows = []
    for tokens in LENGTHS:
        script = long_sample(f"length-{tokens}", checkpoint, data, tokens, 2)
        found = [run([tunebook, "run", script], f"length-{tokens}") for _ in range(runs)]
        what = f"a step on {tokens:,} tokens"
        rows.append(Row(what, "s", [one.times("step +2/")[0] - one.times("step +1/")[0] for one in found]))
        rows.append(Row(f"{what}, attention's share", "%", [shares.of(script)[shares.ATTENTION]]))
        rows.append(Row(f"{what}, peak memory", "GiB", [one.peak / GIB for one in found]))
    return rows


def memory(tunebook, runs):
    """A step of `3b` on one text of 1,024 tokens, within a limit."""
    checkpoint, data = places.checkpoint("3b"), places.data()
    rows = []
    for name, model, limit in ("bf16", checkpoint, 12), ("4 bits", f"{checkpoint} quantization_bit=4", 6):
        script = long_sample(f"memory-{limit}", model, data, 1024, 1, f"memory={limit}")
        found = [run([tunebook, "run", script], f"memory-{limit}") for _ in range(runs)]
        what = f"a 3B model's step on 1,024 tokens in {name}, memory={limit}"
        rows.append(Row(f"{what}, peak memory", "GiB", [one.peak / GIB for one in found]))
    return rows


def profile(tunebook, runs):
    """Where the time of a training goes whose pictures' features are known."""
    chosen = choose("bench", places.checkpoint("mid"), places.data(), f"max_samples={BATCH * ACCUMULATION}")
    found = shares.of(places.script("profile", *chosen, LORA, train_line(f"{BATCHES} epochs=10")))
    return [Row(f"time in {group}", "%", [share]) for group, share in found.items()]


def long_sample(name, model, data, tokens, steps, options=""):
    chosen = choose("long", model, data, f"cutoff_len={tokens}")
    return places.script(name, *chosen, LORA, train_line(f"max_steps={steps} batch=1 accum=1 {options}"))


def choose(dataset, model, data, options=""):
    return [f"load {model}", f"data {dataset} dataset_dir={data} {options}"]


def train_line(options):
    return f"train lr=2e-4 logging_steps=1 {options}"


def peer(*words):
    return [places.python(), places.HERE / "peers.py", *words]


if __name__ == "__main__":
    main()
