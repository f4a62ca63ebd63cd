#!/usr/bin/env python3
"""Trains and answers on the CPU and on a CUDA device, and compares: for a machine with a GPU.

    python3 tests/cuda/compare.py TUNEBOOK

TUNEBOOK is a program built with `--features cuda`. In float32, losses and gradient norms of every step must agree within
1e-4 of themselves and greedy answers to the letter; in bfloat16, where each side rounds its own way, within 2 in 100.
Times are shown, of a model too small to say much. Ends with status 1 if anything differs.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
VISION = "freeze_vision_tower=false freeze_multi_modal_projector=false"
# By name: how the model is loaded, what is trained.
CASES = {
    "lora": ("dtype=float32", "lora lora_rank=8"),
    "lora with dropout": ("dtype=float32", "lora lora_rank=8 lora_dropout=0.2"),
    "vision tower": ("dtype=float32", f"lora lora_rank=8 {VISION}"),
    "dora": ("dtype=float32", "lora lora_rank=8 use_dora=true"),
    "pissa": ("dtype=float32", "lora lora_rank=8 pissa_init=true"),
    "additional_target": ("dtype=float32", "lora lora_rank=8 additional_target=embed_tokens"),
    "full": ("dtype=float32", f"full {VISION}"),
    "4 bits": ("dtype=float32 quantization_bit=4", "lora lora_rank=8"),
    "8 bits": ("dtype=float32 quantization_bit=8", "lora lora_rank=8"),
    "bfloat16": ("dtype=bfloat16", "lora lora_rank=8"),
}
SCRIPT = """
set logging_steps=1 per_device_train_batch_size=2 gradient_accumulation_steps=2 max_new_tokens=16 do_sample=false
load {fixtures}/tiny device={device} {load}
data creatures dataset_dir={fixtures}/train
{method}
train output_dir={out} num_train_epochs=2 learning_rate=1e-3
chat image={fixtures}/pictures/creature_0.png Who is this?
"""


def main():
    (tunebook,) = sys.argv[1:]
    wrong = 0
    print(f"{'':20}{'loss':>12}{'grad_norm':>12}{'answers':>10}{'cpu':>9}{'cuda':>9}")
    for name, (load, method) in CASES.items():
        [(cpu, a, cpu_time), (cuda, b, cuda_time)] = [run(tunebook, device, load, method) for device in ("cpu", "cuda")]
        loss, norm = (difference(cpu, cuda, key) for key in ("loss", "grad_norm"))
        exact = "bfloat16" not in load
        fails = max(loss, norm) > (1e-4 if exact else 2e-2) or (exact and a != b)
        wrong += fails
        answers = "equal" if a == b else "differ"
        print(f"{name:20}{loss:12.1e}{norm:12.1e}{answers:>10}{cpu_time:7.2f} s{cuda_time:7.2f} s{'  WRONG' * fails}", flush=True)
    sys.exit(wrong > 0)


def run(tunebook, device, load, method):
    """What is logged of each step, the answer, and the seconds that training took."""
    with tempfile.TemporaryDirectory() as folder:
        script, out = Path(folder, "script.tune"), Path(folder, "out")
        script.write_text(SCRIPT.format(fixtures=FIXTURES, device=device, load=load, method=method, out=out))
        done = subprocess.run([tunebook, "run", script], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        history = json.loads((out / "trainer_state.json").read_text())["log_history"]
        results = json.loads((out / "train_results.json").read_text())
        # The last line says how long the answer took.
        answer = done.stdout.strip().splitlines()[-2]
        return [step for step in history if "loss" in step], answer, results["train_runtime"]


def difference(cpu, cuda, key):
    """The largest of all steps, relative."""
    assert len(cpu) == len(cuda) > 4, (len(cpu), len(cuda))
    return max(abs(a[key] - b[key]) / abs(a[key]) for a, b in zip(cpu, cuda))


main()
