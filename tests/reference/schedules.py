"""Ask transformers, as LLaMA-Factory asks it, for learning rates: fixtures/train/schedules.json. (Virtual environment of
requirements-llamafactory.txt.)

One row a schedule: the learning rate of every step of a training of 20 steps at 1e-3."""

import torch
from llamafactory.train.trainer_utils import create_custom_scheduler
from transformers import Seq2SeqTrainingArguments, get_scheduler

from common import FIXTURES, dump_rows, versions

STEPS = 20
NAMES = "linear cosine cosine_with_restarts polynomial constant constant_with_warmup inverse_sqrt warmup_stable_decay"


def main():
    rows = []
    for name in NAMES.split():
        for warmup in (0, 3):
            arguments = Seq2SeqTrainingArguments("unused", lr_scheduler_type=name, warmup_steps=warmup, use_cpu=True)
            create_custom_scheduler(arguments, STEPS)
            optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
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
            rows.append(dict(lr_scheduler_type=name, warmup_steps=warmup, learning_rates=rates))
    made_by = versions("llamafactory", "torch", "transformers")
    dump_rows(FIXTURES / "train" / "schedules.json", "schedules", rows, versions=made_by)


if __name__ == "__main__":
    main()
