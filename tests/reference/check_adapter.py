"""check_adapter.py ADAPTER_DIR CHECKPOINT_DIR CASE.safetensors OUT.safetensors

Does Python PEFT compute what tunebook computed? Loads the adapter that tunebook saved over the checkpoint, runs the
case (a file of fixtures/logits) in float32 and compares with `logits` [T,vocabulary] in OUT. Prints the largest
absolute difference; exit status 1 if it is over 2e-4.
"""

import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

TOLERANCE = 2e-4


def main(adapter, checkpoint, case, out):
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32)
    model, case, ours = PeftModel.from_pretrained(model, adapter).eval(), load_file(case), load_file(out)["logits"]
    in_file = {k.replace(".weight", ".default.weight") for k in load_file(f"{adapter}/adapter_model.safetensors")}
    in_model = {k for k, _ in model.named_parameters() if "lora_" in k}
    if in_file != in_model:
        sys.exit(f"adapter tensors differ from the model's: {sorted(in_file ^ in_model)[:8]}")
    ids = case["input_ids"][None]
    inputs = {k: case[k] for k in ("pixel_values", "image_grid_thw") if k in case}
    inputs |= dict(input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=case["position_ids"][:, None])
    with torch.no_grad():
        theirs = model(**inputs).logits[0]
        with model.disable_adapter():
            base = model(**inputs).logits[0]
    if theirs.shape != ours.shape:
        sys.exit(f"shapes differ: PEFT {tuple(theirs.shape)}, tunebook {tuple(ours.shape)}")
    difference = (theirs - ours.float()).abs().max().item()
    moved = (theirs - base).abs().max().item()
    print(f"max abs difference {difference:.3e} (the adapter itself moves logits by up to {moved:.3e})")
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
