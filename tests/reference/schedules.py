"""Ask transformers, as LLaMA-Factory asks it, for learning rates: fixtures/train/schedules.json. (Virtual environment of
requirements-llamafactory.txt.)

schedules     one row a schedule: the learning rate of every step of a training of 20 steps at 1e-3
eval_losses   what evaluations find one after another
plateaus      reduce_lr_on_plateau: the learning rate before the first of them and after each"""

import torch
from llamafactory.train.trainer_utils import create_custom_scheduler
from transformers import Seq2SeqTrainingArguments, get_scheduler

from common import FIXTURES, dump_rows, versions

STEPS = 20
NAMES = "linear cosine cosine_with_restarts polynomial constant constant_with_warmup inverse_sqrt warmup_stable_decay"
# With further values, each with and without a warmup.
KWARGS = [
    ("cosine", dict(num_cycles=1.25)),
    ("cosine_with_restarts", dict(num_cycles=3)),
    ("polynomial", dict(power=2.0, lr_end=1e-4)),
    ("inverse_sqrt", dict(timescale=7)),
    ("cosine_with_min_lr", dict(min_lr=1e-4)),
    ("cosine_with_min_lr", dict(min_lr_rate=0.3, num_cycles=0.75)),
    ("cosine_warmup_with_min_lr", dict(min_lr_rate=0.1, warmup_lr_rate=0.2)),
    ("warmup_stable_decay", dict(num_stable_steps=4, num_decay_steps=9, decay_type="linear", min_lr_ratio=0.2)),
    ("warmup_stable_decay", dict(num_decay_steps=5, decay_type="1-sqrt", warmup_type="cosine")),
]
EVAL_LOSSES = [3.0, 2.5, 2.6, 2.49999, 2.4, 2.7, 2.7, 2.7, 2.7, 2.3, 2.31, 2.32, 2.33, 2.34, 2.35, 2.36, 2.0, 2.1, 2.2]
PLATEAUS = [
    dict(),
    dict(patience=1),
    dict(patience=0, factor=0.5, cooldown=2),
    dict(patience=1, factor=0.5, min_lr=2e-4),
    dict(patience=2, threshold=0.01, threshold_mode="abs"),
    dict(patience=2, mode="max", factor=0.3, eps=1e-4),
]


def main():
    cases = [(name, {}) for name in NAMES.split()] + KWARGS
    rows = [schedule(name, warmup, kwargs) for name, kwargs in cases for warmup in (0, 3)]
    made_by = versions("llamafactory", "torch", "transformers")
    plateaus = [plateau(kwargs) for kwargs in PLATEAUS]
    path = FIXTURES / "train" / "schedules.json"
    dump_rows(path, "schedules", rows, versions=made_by, eval_losses=EVAL_LOSSES, plateaus=plateaus)


def schedule(name, warmup, kwargs):
    arguments = Seq2SeqTrainingArguments(
        "unused", lr_scheduler_type=name, warmup_steps=warmup, lr_scheduler_kwargs=dict(kwargs) or None, use_cpu=True
    )
    create_custom_scheduler(arguments, STEPS)
    optimizer = adamw()
    scheduler = get_scheduler(
        arguments.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=arguments.get_warmup_steps(STEPS),
        num_training_steps=STEPS,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    rates = []
    for _ in range(STEPS):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return dict(lr_scheduler_type=name, warmup_steps=warmup, lr_scheduler_kwargs=kwargs, learning_rates=rates)


def plateau(kwargs):
    scheduler = get_scheduler("reduce_lr_on_plateau", optimizer=adamw(), scheduler_specific_kwargs=kwargs)
    rates = [scheduler.get_last_lr()[0]]
    for loss in EVAL_LOSSES:
        scheduler.step(loss)
        rates.append(scheduler.get_last_lr()[0])
    return dict(lr_scheduler_kwargs=kwargs, learning_rates=rates)


def adamw():
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)


if __name__ == "__main__":
    main()
