"""Ask transformers what its trainer writes in a model card: fixtures/model_card/trainer.json.

tables           logs, and the table of training results that they make
hyperparameters  training arguments, and the lines that list them
results          a log, and the lines of its last evaluation"""

import json
from types import SimpleNamespace

from transformers import TrainingArguments
from transformers.modelcard import _maybe_round, extract_hyperparameters_from_trainer, make_markdown_table, parse_log_history

from common import FIXTURES, versions

ARGUMENTS = [
    dict(learning_rate=5e-5, per_device_train_batch_size=2, per_device_eval_batch_size=2, gradient_accumulation_steps=8),
    dict(learning_rate=2e-4, per_device_train_batch_size=1, per_device_eval_batch_size=4, gradient_accumulation_steps=1, seed=7),
    dict(learning_rate=1e-3, lr_scheduler_type="linear", warmup_steps=20, max_steps=300, adam_beta2=0.95, adam_epsilon=1e-6),
    dict(learning_rate=4e-3, num_train_epochs=1.5, lr_scheduler_type="constant_with_warmup", warmup_steps=3),
]


def step(number, loss):
    return dict(
        step=number, loss=loss, epoch=number / 7, grad_norm=0.5, learning_rate=1e-4, num_input_tokens_seen=100 * number
    )


def evaluation(number, loss):
    return dict(
        step=number,
        eval_loss=loss,
        epoch=number / 7,
        eval_runtime=1.5,
        eval_samples_per_second=2.0,
        eval_steps_per_second=1.0,
        num_input_tokens_seen=100 * number,
    )


LOGS = [
    [step(5, 2.34567891), evaluation(5, 1.5), step(10, 1e-5), evaluation(10, 0.1234567)],
    [evaluation(2, 12.0), step(10, 0.25), evaluation(14, 1.5e-7), step(20, 123456.789), evaluation(21, 100.03125)],
    [step(5, 1.0), evaluation(7, 2.5e-5)],
]


def hyperparameters(arguments):
    args = TrainingArguments(output_dir="unused", use_cpu=True, optim="adamw_torch", report_to="none", **arguments)
    # Its name, and not that of the enum.
    args.optim = args.optim.value
    return [f"- {name}: {value}" for name, value in extract_hyperparameters_from_trainer(SimpleNamespace(args=args)).items()]


def main():
    tables, results = [], []
    for log in LOGS:
        train = dict(train_runtime=1.0, train_loss=1.0, epoch=3.0, step=30)
        _, lines, last = parse_log_history([*log, train])
        tables.append(dict(log=log, table=make_markdown_table(lines)))
        results.append(dict(log=log, lines=[f"- {name}: {_maybe_round(value)}" for name, value in last.items()]))
    out = dict(
        versions=versions("transformers"),
        tables=tables,
        hyperparameters=[dict(arguments=arguments, lines=hyperparameters(arguments)) for arguments in ARGUMENTS],
        results=results,
    )
    (FIXTURES / "model_card").mkdir(exist_ok=True)
    (FIXTURES / "model_card" / "trainer.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
