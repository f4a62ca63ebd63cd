"""Losses of longer trainings by LLaMA-Factory on the tiny checkpoint: fixtures/advice/losses.json. (Virtual environment
of requirements-llamafactory.txt.) They are as they should be, so that no advice may be given about them."""

import json
import os
import tempfile
from pathlib import Path

from common import FIXTURES, dump
from train import COMMON

RUNS = {
    "sample_by_sample": dict(per_device_train_batch_size=1, gradient_accumulation_steps=1, max_steps=100),
    "larger_steps": dict(per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=60, learning_rate=3e-3),
    "linear_with_warmup": dict(max_steps=80, lr_scheduler_type="linear", warmup_steps=20, learning_rate=5e-3),
    "full": dict(finetuning_type="full", max_steps=100, per_device_train_batch_size=1, gradient_accumulation_steps=2),
}


def main():
    from llamafactory.train.tuner import run_exp

    os.chdir(FIXTURES)
    losses = {}
    for name, run in RUNS.items():
        with tempfile.TemporaryDirectory() as saves:
            run_exp({**COMMON, "dataset": "creatures", "disable_shuffling": False, **run, "output_dir": saves})
            history = json.loads(Path(saves, "trainer_state.json").read_text())["log_history"]
        losses[name] = [round(entry["loss"], 4) for entry in history if "loss" in entry]
    (FIXTURES / "advice").mkdir(exist_ok=True)
    dump(FIXTURES / "advice" / "losses.json", {"losses": losses})


main()
