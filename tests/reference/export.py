"""export.py ADAPTER_DIR CHECKPOINT_DIR EXPORTED_DIR CASE.safetensors [OUT.safetensors]

Is a folder that tunebook exported what PEFT makes of the same checkpoint and adapter? Loads it with transformers, model,
tokenizer and processor, and compares every weight with that of PEFT's merge_and_unload (both in the checkpoint's own
dtype), and in float32 the logits of the case (a file of fixtures/logits) with those of checkpoint and adapter unmerged;
with OUT also `logits` [T,vocabulary] in it, which tunebook computed with the exported folder. Prints the largest
differences; exit status 1 if one is too large.
"""

import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

TOLERANCE = 2e-4


def load(folder, dtype="auto"):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()


def logits(model, case):
    ids = case["input_ids"][None]
    inputs = {k: case[k] for k in ("pixel_values", "image_grid_thw") if k in case}
    inputs |= dict(input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=case["position_ids"][:, None])
    with torch.no_grad():
        return model(**inputs).logits[0].float()


def main(adapter, checkpoint, exported, case, out=None):
    case, failed = load_file(case), False
    AutoTokenizer.from_pretrained(exported), AutoProcessor.from_pretrained(exported)

    merged = PeftModel.from_pretrained(load(checkpoint), adapter).merge_and_unload().state_dict()
    ours, base = load(exported).state_dict(), load(checkpoint).state_dict()
    if ours.keys() != merged.keys():
        sys.exit(f"tensors differ from the model's: {sorted(ours.keys() ^ merged.keys())[:8]}")
    dtypes = {str(t.dtype) for t in ours.values()}
    changed = sum(not torch.equal(ours[k], base[k]) for k in ours)
    # Sums that lie between two numbers of the dtype may be rounded to either, as their order was.
    steps = max(((ours[k] - merged[k]).abs().float() / torch.finfo(merged[k].dtype).eps / scale(merged[k])).max().item() for k in ours)
    equal = sum(torch.equal(ours[k], merged[k]) for k in ours)
    print(f"{len(ours)} tensors in {dtypes}, {changed} changed, {equal} equal to PEFT's, others within {steps:.2f} roundings")
    failed |= steps > 2 or changed == 0

    unmerged = logits(PeftModel.from_pretrained(load(checkpoint, torch.float32), adapter).eval(), case)
    theirs = logits(load(exported, torch.float32), case)
    by_peft = load(checkpoint)
    by_peft = PeftModel.from_pretrained(by_peft, adapter).merge_and_unload().float()
    rounding = (logits(by_peft, case) - unmerged).abs().max().item()
    difference = (theirs - unmerged).abs().max().item()
    print(f"logits differ from checkpoint + adapter by {difference:.3e} (PEFT's own merge by {rounding:.3e})")
    failed |= difference > max(TOLERANCE, 2 * rounding)
    if out:
        difference = (theirs - load_file(out)["logits"]).abs().max().item()
        print(f"tunebook's logits of the exported folder differ by {difference:.3e}")
        failed |= difference > TOLERANCE
    return int(failed)


def scale(weight):
    """The power of two below each element, and of the smallest normal number where it is 0."""
    return torch.exp2(torch.floor(torch.log2(weight.float().abs().clamp_min(1e-30))))


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
