"""Models and adapters as other tools leave them, and what transformers and PEFT compute with them, in float32.

fixtures/brought/ADAPTER/        adapters of PEFT over fixtures/tiny with random weights, as save_pretrained writes them
fixtures/brought/logits.safetensors  for the case `picture` of fixtures/logits, the logits at the last position:
  float16    of fixtures/tiny stored in float16, computed in float32
  own_head   of fixtures/tiny with an `lm_head.weight` beside the embedding: its rows, each moved down by one
  ADAPTER    of fixtures/tiny with the adapter, and, which is checked, of the two merged

Of Qwen2.5-VL: patterns, layers and tied. Of other families tied, and those that LLaMA-Factory's `all` leads to, with
the lists of target modules in fixtures/train/trainable.json:
  tower             freeze_vision_tower: false
  tower_and_merger  and freeze_multi_modal_projector: false, where that makes a difference (Qwen3-VL)
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from common import FAMILY, TINY, of_family, versions

OUT = of_family("brought")
EMBEDDING = "model.language_model.embed_tokens.weight" if FAMILY.name == "qwen3-vl" else "model.embed_tokens.weight"

ADAPTERS = {
    # The first key that matches counts, as a regular expression.
    "patterns": dict(
        r=2,
        lora_alpha=4,
        use_rslora=True,
        target_modules=r".*language_model.*\.(q_proj|down_proj)",
        rank_pattern={"layers.1.self_attn.q_proj": 4, r"layers\.[12]\..*": 1},
        alpha_pattern={"down_proj": 1, r".*\.2\..*": 10},
    ),
    "layers": dict(
        r=3,
        lora_alpha=6,
        target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
        layers_to_transform=[1],
        layers_pattern="layers",
        exclude_modules=["o_proj"],
    ),
    "tied": dict(
        r=2, lora_alpha=4, target_modules=["v_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True
    ),
}
if FAMILY.name != "qwen2.5-vl":
    trainable = json.loads((of_family("train") / "trainable.json").read_text())["cases"]
    targets = {tuple(sorted(case["arguments"])): case.get("target_modules", {}).get("tiny") for case in trainable}
    tower = targets["freeze_vision_tower", "lora_rank"]
    both = targets["freeze_multi_modal_projector", "freeze_vision_tower"]
    ADAPTERS = {"tied": ADAPTERS["tied"], "tower": dict(r=2, lora_alpha=4, target_modules=tower)}
    if both != tower:
        ADAPTERS["tower_and_merger"] = dict(r=2, lora_alpha=4, target_modules=both)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    case = load_file(of_family("logits") / "picture.safetensors")
    found = {"float16": last_logits(stored_as(float16), case), "own_head": last_logits(stored_as(own_head), case)}
    for name, config in ADAPTERS.items():
        write_adapter(OUT / name, LoraConfig(**config))
        model = PeftModel.from_pretrained(load(TINY), OUT / name).eval()
        found[name] = last_logits(model, case)
        difference = (last_logits(model.merge_and_unload(), case) - found[name]).abs().max().item()
        assert difference < 1e-4, f"{name}: merged differs by {difference}"
    base = last_logits(load(TINY), case)
    for name, logits in found.items():
        assert (logits - base).abs().max() > (1e-3 if name == "float16" else 0.1), f"{name} changes nothing"
    # One entry, since several are written in any order.
    save_file(found, OUT / "logits.safetensors", metadata={"versions": json.dumps(versions("torch", "transformers", "peft"))})
    for file in OUT.rglob("*.*"):
        file.chmod(0o644)


def load(folder):
    return FAMILY.load(folder, dtype=torch.float32).eval()


def stored_as(change):
    """fixtures/tiny with its weights changed, loaded from a folder of its own."""
    weights = {}
    for file in TINY.glob("*.safetensors"):
        weights |= load_file(file)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(TINY, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("model*"))
        save_file(change(weights), Path(folder) / "model.safetensors", metadata={"format": "pt"})
        return load(folder)


def float16(weights):
    return {name: tensor.half() for name, tensor in weights.items()}


def own_head(weights):
    return weights | {"lm_head.weight": weights[EMBEDDING].roll(1, 0).contiguous()}


def write_adapter(folder, config, seed=20261129, dtype=torch.bfloat16):
    torch.manual_seed(seed)
    model = get_peft_model(load(TINY), config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn_like(p) * 0.3)
            elif "modules_to_save" in name:
                p.copy_(p.roll(1, 0))
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = TINY.name
    for key, value in config.items():
        if isinstance(value, list):
            value.sort()  # written from sets
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    # In bfloat16 half the size; what is computed is computed with the rounded values.
    weights = load_file(folder / "adapter_model.safetensors")
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def last_logits(model, case):
    ids = case["input_ids"][None]
    inputs = {k: case[k] for k in ("pixel_values", "image_grid_thw") if k in case}
    inputs |= dict(input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=case["position_ids"][:, None])
    with torch.no_grad():
        return model(**inputs).logits[0, -1].float()


if __name__ == "__main__":
    main()
