"""Not a test: how soon a question is answered while a training runs. `python first_token.py MODEL DATASET_DIR NAME PICTURE [ROUNDS]`

Asks the same question about a picture in turn without a training and in the middle of one, over jupyter_client, and says how
long the first token took: from the cell's execute request to its first text on iopub, the median and the worst. The kernel
gathers text for up to 80 ms, with and without a training. Then it asks the checkpoint of each step what was asked then."""

import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from support import finish, kernel, run, text_of, wait_for


def ok(kc, code):
    reply, outputs = run(kc, code)
    assert reply["status"] == "ok", reply
    return text_of(outputs)


def ask(kc, question):
    """Seconds to the first text and to the end, and the text."""
    start = time.perf_counter()
    message_id = kc.execute(question)
    wait_for(kc, lambda m: m["msg_type"] == "stream" and m["parent_header"].get("msg_id") == message_id)
    first = time.perf_counter() - start
    # The first piece is gone; the answer is asked for again below.
    reply, _ = finish(kc, message_id)
    assert reply["status"] == "ok", reply
    return first, time.perf_counter() - start


def main(model, dataset_dir, name, picture, rounds=8):
    question = f"chat image={picture} What is in the picture?"
    found = {"alone": [], "training": []}
    with tempfile.TemporaryDirectory() as output, kernel() as (_, kc):
        ok(kc, f"load {model}\ndata {name} dataset_dir={dataset_dir} val_size=0\nlora\nset max_new_tokens=8 do_sample=false")
        ok(kc, f"set output_dir={output}/out save_steps=1 epochs=1000")
        ok(kc, question)
        for number in range(rounds):
            ok(kc, "chat clear")
            found["alone"].append(ask(kc, question)[0])
            ok(kc, "train 50 &")
            time.sleep(1 + random.random() * 3)
            ok(kc, "chat clear")
            found["training"].append(ask(kc, question)[0])
            said = ok(kc, "jobs")
            step = re.search(r"step (\d+) of", said)[1]
            ok(kc, "chat clear")
            answer = ok(kc, question).split("\n[")[0]
            again = re.search(r"step (\d+) of", ok(kc, "jobs"))[1]
            reply = run(kc, "stop")[0]
            assert reply["status"] == "ok", reply
            if step == again and int(step) > 0:
                ok(kc, f"adapter load {output}/out/checkpoint-{step} as then-{number}\nchat clear")
                then = ok(kc, question).split("\n[")[0]
                print(f"after step {step}: {'the same answer' if then == answer else f'{answer!r}, but {then!r}'}", flush=True)
                ok(kc, f"adapter use default\nadapter drop then-{number}")
    for what, seconds in found.items():
        print(f"first token, {what:8} median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s")


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:]))
