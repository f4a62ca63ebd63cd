"""Quantize with bitsandbytes, and train on what comes of it: fixtures/quantize. (Virtual environment of
requirements-llamafactory.txt.)

weights.safetensors, for four matrices NAME:
  NAME.weight                what is quantized, bfloat16 or float32
  NAME.nf4.codes, .absmax, .scales, .offset, .values    quantize_4bit with nf4 and compress_statistics, and decoded
  NAME.int8.codes, .absmax, .values                     the weight of a Linear8bitLt, and decoded
steps_4.json, steps_8.json   loss, grad_norm and learning_rate of 12 steps from train/adapter_nonzero, as in
                             train/linear_warmup, on the tiny checkpoint with its linear layers quantized and decoded
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import bitsandbytes.functional as bnb
import torch
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.quantizers.base import get_keys_to_not_convert

from common import FIXTURES, TINY, dump_rows, versions
from train import COMMON, RUNS, save

OUT = FIXTURES / "quantize"
# As compress_statistics has it.
GROUP = 256


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    write_weights()
    for bit, decoded in ((4, lambda w: nf4(w)["values"]), (8, lambda w: int8(w)["values"])):
        train(bit, decoded)


def write_weights():
    # quantize_4bit sums absmax in float32, in an order that depends on the machine: matrices whose exact mean rounds to
    # the same number.
    seed = next(s for s in range(100) if all(has_exact_mean(w) for w in weights(s).values()))
    tensors = {}
    for name, weight in weights(seed).items():
        tensors[f"{name}.weight"] = weight
        tensors |= {f"{name}.nf4.{k}": v for k, v in nf4(weight).items()}
        tensors |= {f"{name}.int8.{k}": v for k, v in int8(weight).items()}
    save(OUT / "weights.safetensors", tensors)


def weights(seed):
    torch.manual_seed(seed)
    large = torch.randn(36, 512) * torch.rand(36, 1) * 0.05
    large[7, 100] = 1.5
    large[9] = 0
    uneven = torch.randn(20, 48) * 0.1
    narrow = torch.randn(7, 45) * 0.02
    few = narrow[:1, :5].clone()
    return {"groups": large.bfloat16(), "uneven": uneven.bfloat16(), "odd": narrow, "short": few}


def has_exact_mean(weight):
    absmax = bnb.quantize_4bit(weight, quant_type="nf4")[1].absmax
    return absmax.mean() == absmax.double().mean().float()


def nf4(weight):
    # As one row: on the CPU, bitsandbytes decodes rows wrongly that do not end with a block.
    shape, weight = weight.shape, weight.flatten()
    codes, state = bnb.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    _, plain = bnb.quantize_4bit(weight, quant_type="nf4")
    # On the CPU, bitsandbytes looks up the 8-bit codes in a table of 65,536 places and misses the nearest now and then.
    # In float64 it searches, as its CUDA kernel does.
    centred = (plain.absmax - state.offset).double()
    found = torch.ops.bitsandbytes.quantize_blockwise.default(centred, bnb.create_dynamic_map(), GROUP)
    (absmax, scales), mostly = found, (found[0] == state.absmax).float().mean()
    assert torch.equal(scales, state.state2.absmax) and mostly > 0.95, mostly
    state.absmax = absmax
    state.dtype = torch.float32
    values = bnb.dequantize_4bit(codes, state).view(shape)
    return {
        "codes": codes.flatten(),
        "absmax": absmax,
        "scales": scales,
        "offset": state.offset[None],
        "values": values,
    }


def int8(weight):
    # In float16, as Int8Params makes it.
    codes, absmax, _ = bnb.int8_vectorwise_quant(weight.half())
    return {"codes": codes, "absmax": absmax, "values": bnb.int8_vectorwise_dequant(codes, absmax)}


def train(bit, decoded):
    from llamafactory.train.tuner import run_exp

    recipe = {**COMMON, **RUNS["linear_warmup"]}
    os.chdir(FIXTURES)
    with tempfile.TemporaryDirectory() as folder:
        base, saves = Path(folder, "base"), Path(folder, "saves")
        write_decoded(base, decoded)
        run_exp({**recipe, "model_name_or_path": str(base), "output_dir": str(saves)})
        history = json.loads((saves / "trainer_state.json").read_text())["log_history"]
    keys = ("step", "loss", "grad_norm", "learning_rate")
    rows = [{k: e[k] for k in keys} for e in history if "loss" in e]
    assert len(rows) == 12, len(rows)
    made_by = versions("bitsandbytes", "llamafactory", "torch", "transformers", "peft")
    dump_rows(OUT / f"steps_{bit}.json", "steps", rows, versions=made_by)


def write_decoded(folder, decoded):
    """The tiny checkpoint, the linear layers that transformers would quantize being quantized and decoded."""
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32)
    stored = Qwen2_5_VLForConditionalGeneration.from_pretrained(TINY, dtype="auto")
    stored = dict(stored.named_modules())
    kept = get_keys_to_not_convert(model)
    linears = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n not in kept}
    assert not any("lm_head" in n or "embed" in n for n in linears), linears.keys()
    config = model.config
    assert len(linears) == 7 * config.text_config.num_hidden_layers + 5 * config.vision_config.depth + 2
    for name, module in linears.items():
        module.weight.data = decoded(stored[name].weight.data)
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
