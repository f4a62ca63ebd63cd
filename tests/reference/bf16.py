"""How far transformers' bfloat16 is from its float32: fixtures/bf16/logits.safetensors and cases.json.

For conversations of logits.py with the tiny checkpoint, whose weights are rounded to bfloat16 first, so that float32
and bfloat16 differ by how they compute alone. Tensor CASE [16 or 8,vocabulary]: the float32 logits of the last
positions.
cases.json: the root mean square and the largest absolute difference of the bfloat16 logits from them.
"""

import torch
from safetensors.torch import save_file
from transformers import AutoProcessor

from common import FAMILY, TINY, dump, model_inputs, of_family, versions
from logits import CASES

OUT = of_family("bf16")
POSITIONS = 16 if FAMILY.name == "qwen2.5-vl" else 8


def main():
    OUT.mkdir(exist_ok=True)
    processor = AutoProcessor.from_pretrained(TINY)
    tensors, cases = {}, {}
    for name, (checkpoint, pictures, messages) in CASES.items():
        if of_family(checkpoint) != TINY:
            continue
        inputs = model_inputs(processor, messages, pictures)
        narrow = logits(torch.bfloat16, inputs)
        wide = logits(torch.float32, inputs)
        difference = narrow - wide
        tensors[name] = wide
        cases[name] = {"rms": difference.square().mean().sqrt().item(), "largest": difference.abs().max().item()}
        print(name, cases[name], "of logits up to", wide.abs().max().item())
    save_file(tensors, OUT / "logits.safetensors")
    (OUT / "logits.safetensors").chmod(0o644)
    dump(OUT / "cases.json", {"versions": versions("torch", "transformers"), "cases": cases})


@torch.no_grad()
def logits(dtype, inputs):
    model = FAMILY.load(TINY, dtype=torch.bfloat16).to(dtype).eval()
    return model(**inputs, use_cache=False).logits[0, -POSITIONS:].float().contiguous()


if __name__ == "__main__":
    main()
