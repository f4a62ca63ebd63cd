"""What LLaMA-Factory's collator gives a model: fixtures/encode/positions.json. (Virtual environment of
requirements-llamafactory.txt.)

The samples of fixtures/train/creatures.json in batches of four, and packed with neat_packing: for each batch or pack its
samples in order, each with input_ids and the 3-D positions of its tokens, without padding.
"""

import json

import torch
from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
from llamafactory.model import load_tokenizer

from common import FAMILY, FIXTURES, TINY, dump_rows, of_family, versions
from encode import arguments

TRAIN = FIXTURES / "train"


def main():
    model = FAMILY.load(TINY, dtype=torch.float32)
    rows = [{"packed": False, "samples": samples} for samples in batches(model, 4)]
    rows += [{"packed": True, "samples": samples} for samples in batches(model, 1, neat_packing=True, cutoff_len=160)]
    head = versions("llamafactory", "transformers")
    dump_rows(of_family("encode") / "positions.json", "batches", rows, versions=head, cutoff_len=160)


def batches(model, size, **settings):
    model_args, data_args, training_args, *_ = arguments(str(TRAIN), dataset="creatures", media_dir=str(TRAIN), **settings)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)["train_dataset"]
    collate = SFTDataCollatorWith4DAttentionMask(
        template=template, model=model, pad_to_multiple_of=8, label_pad_token_id=-100, block_diag_attn=False, **module
    )
    rows = [row for row in rows if size > 1 or row["images"]]  # a packed batch without any picture fails there
    for start in range(0, len(rows), size):
        batch = collate([dict(row) for row in rows[start : start + size]])
        samples = []
        for ids, mask, positions in zip(batch["input_ids"], batch["attention_mask"], batch["position_ids"][1:].unbind(1)):
            for part in range(1, int(mask.max()) + 1):
                chosen = mask == part
                samples.append({"input_ids": ids[chosen].tolist(), "positions": positions[:, chosen].T.tolist()})
        yield samples


if __name__ == "__main__":
    main()
