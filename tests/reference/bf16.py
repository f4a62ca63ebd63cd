"""How far transformers' bfloat16 is from its float32: fixtures/bf16/logits.safetensors and cases.json.

For conversations of logits.py with the tiny checkpoint, whose weights are rounded to bfloat16 first, so that float32
and bfloat16 differ by how they compute alone. Tensor CASE [16,vocabulary]: the float32 logits of the last positions.
cases.json: the root mean square and the largest absolute difference of the bfloat16 logits from them.
"""

import torch
from safetensors.torch import save_file
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from common import FIXTURES, TINY, dump, model_inputs, versions
from logits import CASES

OUT = FIXTURES / "bf16"
POSITIONS = 16


def main():
    OUT.mkdir(exist_ok=True)
    processor = AutoProcessor.from_pretrained(TINY)
    tensors, cases = {}, {}
    for name, (checkpoint, pictures, messages) in CASES.items():
        if FIXTURES / checkpoint != TINY:
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
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(TINY, dtype=torch.bfloat16).to(dtype).eval()
    return model(**inputs, use_cache=False).logits[0, -POSITIONS:].float().contiguous()


if __name__ == "__main__":
    main()
