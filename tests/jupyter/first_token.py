"""Not a test: how soon a question is answered while a training runs. `python first_token.py MODEL DATASET_DIR NAME PICTURE ROUNDS DTYPE`

Asks the same question about a picture in turn without a training and in the middle of one, over jupyter_client, and says how
long the first token took: from the cell's execute request to its first text on iopub, the median and the worst. The kernel
gathers text for up to 80 ms, with and without a training. Then it asks the checkpoint of that step the same: with DTYPE float32 the
answer is the same; with bfloat16 the number of drafted tokens, which follows from measured times, moves last bits."""

import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from support import finish, kernel, run, text_of, wait_for


def ok(kc, code):
    """What a cell says, without what the training draws meanwhile."""
    reply, outputs = run(kc, code)
    assert reply["status"] == "ok", reply
    return text_of([m for m in outputs if "display_id" not in m["content"].get("transient", {})])


def ask(kc, question):
    """Seconds to the first text."""
    start = time.perf_counter()
    message_id = kc.execute(question)
    wait_for(kc, lambda m: m["msg_type"] == "stream" and m["parent_header"].get("msg_id") == message_id)
    first = time.perf_counter() - start
    # The first piece is gone; the answer is asked for again below.
    assert finish(kc, message_id)[0]["status"] == "ok"
    return first


def main(model, dataset_dir, name, picture, rounds, dtype):
    question = f"chat image={picture} What is in the picture?"
    with tempfile.TemporaryDirectory() as output, kernel() as (_, kc):
        ok(kc, f"load {model} dtype={dtype}\ndata {name} dataset_dir={dataset_dir} val_size=0\nlora\nset max_new_tokens=8 do_sample=false epochs=1000")
        ok(kc, question)
        times(kc, question, int(rounds))
        # Steps that are soon made, each with a checkpoint.
        ok(kc, f"set output_dir={output}/out save_steps=1 batch=1 accum=1")
        answers(kc, question, int(rounds), f"{output}/out")


def times(kc, question, rounds):
    found = {"alone": [], "training": []}
    for _ in range(rounds):
        ok(kc, "chat clear")
        found["alone"].append(ask(kc, question))
        ok(kc, "train 50 &")
        time.sleep(2 + random.random() * 4)
        ok(kc, "chat clear")
        found["training"].append(ask(kc, question))
        ok(kc, "stop")
    for what, seconds in found.items():
        print(f"first token, {what:8} median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s", flush=True)


def answers(kc, question, rounds, output):
    for number in range(rounds):
        ok(kc, "train 50 &")
        time.sleep(2 + random.random() * 4)
        ok(kc, "chat clear")
        before = re.search(r"step (\d+) of", ok(kc, "jobs"))[1]
        answer = ok(kc, question).split("\n[")[0]
        step = re.search(r"step (\d+) of", ok(kc, "jobs"))[1]
        ok(kc, "stop")
        if step == before and int(step) > 0:
            ok(kc, f"adapter load {output}/checkpoint-{step} as then-{number}\nchat clear")
            then = ok(kc, question).split("\n[")[0]
            print(f"after step {step}: {'the same answer' if then == answer else f'{answer!r}, but {then!r}'}", flush=True)
            ok(kc, f"adapter use default\nadapter drop then-{number}")


if __name__ == "__main__":
    main(*sys.argv[1:])
