"""Which samples LLaMA-Factory takes, in which order: fixtures/encode/choices.json. (Virtual environment of
requirements-llamafactory.txt.)

numpy        what numpy's two generators give for a seed
python_json  a value as Python writes it
mixes        data sets of these lengths, mixed: row r of data set s is 100 s + r
splits       a data set of this length, split by val_size
packs        samples of these lengths, packed: the indices of each pack
samples      two data sets of ten records with num_samples, read one after the other: the records taken of each
"""

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from datasets import Dataset
from llamafactory.data.data_utils import merge_dataset, split_dataset
from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.data.processor import PackedSupervisedDatasetProcessor

from common import FIXTURES, versions
from encode import arguments

VALUE = '{"a": [1, 2.0, -0.5, 1e16, 1.5e-7, 0.0001, 123456789.25, 1e15], "ключ": {}, "b": [], "c": "\\"\\\\\\n\\t\\u0001é\\u007f", "d": null, "e": true}'


def main():
    seeds = [0, 1, 42, 2**31 - 1]
    rows = {
        "numpy": [numpy_case(seed, length) for seed in seeds for length in (1, 2, 33)],
        "python_json": json.dumps(json.loads(VALUE), ensure_ascii=False),
        "mixes": [
            mix(lengths, strategy, probs, seed)
            for lengths, strategy, probs, seed in [
                ([3, 4, 5], "concat", None, 42),
                ([3, 4, 5], "interleave_under", None, 42),
                ([3, 4, 5], "interleave_over", None, 42),
                ([20, 30], "interleave_under", [0.7, 0.3], 42),
                ([20, 30], "interleave_over", [0.7, 0.3], 42),
                ([20, 30], "interleave_over", [0.5, 0.5], 7),
                ([10, 10, 10], "interleave_under", [0.1, 0.2, 0.7], 1),
                ([10, 3, 10], "interleave_over", [0.25, 0.25, 0.5], 0),
            ]
        ],
        "splits": [
            split(length, val_size, seed)
            for length, val_size, seed in [(10, 0.0, 42), (10, 0.1, 42), (33, 0.25, 42), (33, 5, 7), (2, 0.5, 0), (100, 0.015, 1)]
        ],
        "packs": [
            pack([5, 3, 8, 8, 2, 1, 9, 4, 4, 4, 12, 7], 10),
            pack([int(n) for n in np.random.default_rng(1).integers(5, 60, size=80)], 63),
        ],
        "samples": [take(7, 15, None, 42), take(12, 3, 8, 42), take(10, 25, None, 1)],
    }
    head = json.dumps({"versions": versions("llamafactory", "datasets", "numpy")})[1:-1]
    body = ",\n".join(f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in rows.items())
    (FIXTURES / "encode" / "choices.json").write_text(f"{{{head},\n{body}}}\n")


def numpy_case(seed, length):
    np.random.seed(seed)
    return {
        "seed": seed,
        "len": length,
        "permutation": np.random.default_rng(seed).permutation(length).tolist(),
        "global_permutation": np.random.permutation(length).tolist(),
        "global_choice": np.random.choice(length, 10).tolist(),
    }


def mix(lengths, strategy, probs, seed):
    sets = [Dataset.from_dict({"row": [100 * s + r for r in range(length)]}) for s, length in enumerate(lengths)]
    args = SimpleNamespace(mix_strategy=strategy, interleave_probs=probs, streaming=False)
    rows = merge_dataset(sets, args, seed)["row"]
    return {"lengths": lengths, "mix_strategy": strategy, "interleave_probs": probs, "seed": seed, "rows": list(rows)}


def split(length, val_size, seed):
    args = SimpleNamespace(val_size=val_size, streaming=False)
    train, evaluated = split_dataset(Dataset.from_dict({"row": list(range(length))}), None, args, seed)
    held_out = list(evaluated["validation"]["row"]) if evaluated else []
    return {"len": length, "val_size": val_size, "seed": seed, "train": list(train["train"]["row"]), "eval": held_out}


def pack(lengths, capacity):
    """Through the processor that packs, with samples whose every token is their number."""

    class Numbered(PackedSupervisedDatasetProcessor):
        def _encode_data_example(self, prompt, **_):
            number, length = prompt[0]
            return [number] * length, [0] * length

    args = SimpleNamespace(cutoff_len=capacity, neat_packing=True)
    processor = Numbered(None, SimpleNamespace(pad_token_id=-1), None, args)
    count = len(lengths)
    examples = {"_prompt": [[pair] for pair in enumerate(lengths)], "_response": [[None]] * count}
    examples |= {key: [[]] * count for key in ("_system", "_tools", "_images", "_videos", "_audios")}
    packed = processor.preprocess_dataset(examples)["input_ids"]
    packs = [list(dict.fromkeys(number for number in ids if number >= 0)) for ids in packed]
    return {"lengths": lengths, "capacity": capacity, "packs": packs}


def take(first, second, max_samples, seed):
    with tempfile.TemporaryDirectory() as folder:
        info = {}
        for name, num_samples in (("data", first), ("more", second)):
            records = [{"instruction": str(i), "input": "", "output": "a"} for i in range(10)]
            Path(folder, f"{name}.json").write_text(json.dumps(records))
            info[name] = {"file_name": f"{name}.json", "num_samples": num_samples}
        Path(folder, "dataset_info.json").write_text(json.dumps(info))
        limit = {} if max_samples is None else {"max_samples": max_samples}
        # Reading the arguments seeds numpy.
        model_args, data_args, training_args, *_ = arguments(folder, seed=seed, **limit)
        sets = [_load_single_dataset(entry, model_args, data_args, training_args) for entry in get_dataset_list(list(info), folder)]
        taken = [[int(row["_prompt"][0]["content"]) for row in rows] for rows in sets]
    return {"num_samples": [first, second], "max_samples": max_samples, "seed": seed, "taken": taken}


if __name__ == "__main__":
    main()
