"""What LLaMA-Factory's evaluation and prediction give: fixtures/evaluate/results.json. (Environment of
requirements-llamafactory.txt.)

eval     do_eval on the tiny checkpoint with an adapter of fixtures/train, in float32: the settings, the loss, and the names
         of the metrics
predict  do_predict: prompt and label of the first lines of generated_predictions.jsonl, and the names of the metrics

What is predicted is left out: LLaMA-Factory does not give positions in three dimensions to transformers 5, which then
generates with others than in training.
"""

import json
import os
import tempfile
from pathlib import Path

from llamafactory.train.tuner import run_exp

from common import FIXTURES, dump, versions

COMMON = {
    "model_name_or_path": "tiny",
    "adapter_name_or_path": "train/cosine/adapter",
    "stage": "sft",
    "finetuning_type": "lora",
    "dataset_dir": "train",
    "template": "qwen2_vl",
    "cutoff_len": 512,
    "preprocessing_num_workers": 1,
    "overwrite_cache": True,
    "report_to": "none",
    "bf16": False,
    "use_cpu": True,
    "seed": 42,
}
EVALUATIONS = [
    # 21 samples: the last batch of 4 has a single one, which weighs as much as any other.
    {"eval_dataset": "creatures", "per_device_eval_batch_size": 4},
    {"eval_dataset": "creatures", "per_device_eval_batch_size": 1},
    {"eval_dataset": "pairs", "per_device_eval_batch_size": 8, "train_on_prompt": True},
]


def main():
    os.chdir(FIXTURES)
    evaluations = []
    for settings in EVALUATIONS:
        metrics = run({"do_eval": True, **settings}, "eval_results.json")
        evaluations.append({"settings": settings, "metrics": sorted(metrics), "eval_loss": metrics["eval_loss"]})
    predicting = {
        "do_predict": True,
        "predict_with_generate": True,
        "eval_dataset": "creatures",
        "max_new_tokens": 4,
        "per_device_eval_batch_size": 8,
    }
    metrics = run(predicting, "predict_results.json")
    lines = [{k: line[k] for k in ("prompt", "label")} for line in run.predictions[:6]]
    dump(
        FIXTURES / "evaluate" / "results.json",
        {
            "versions": versions("llamafactory", "torch", "transformers", "peft"),
            "eval": evaluations,
            "predict": {"metrics": sorted(metrics), "lines": lines},
        },
    )


def run(settings, results):
    with tempfile.TemporaryDirectory() as folder:
        run_exp({**COMMON, **settings, "output_dir": folder})
        predictions = Path(folder, "generated_predictions.jsonl")
        run.predictions = [json.loads(x) for x in predictions.read_text().splitlines()] if predictions.exists() else []
        return json.loads(Path(folder, results).read_text())


if __name__ == "__main__":
    main()
