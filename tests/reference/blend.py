"""Weighted sums of adapters, as PEFT's add_weighted_adapter makes them.

fixtures/blend/ADAPTER/     adapters of PEFT over one layer of fixtures/tiny with random weights
fixtures/blend/cases.json   what is made of which, with which arguments
fixtures/blend/blends.safetensors  NAME.MODULE.lora_A.weight and lora_B.weight of each case

PEFT computes in float64. One, other and third have rank 3, one scaling each (other is an rsLoRA); wide has rank 5, in some layers another. What
is pruned at random has no expected values.
"""

import json
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from brought import load, write_adapter
from common import FIXTURES, TINY, versions

OUT = FIXTURES / "blend"

ADAPTERS = {
    "one": dict(r=3, lora_alpha=6, target_modules=["q_proj", "down_proj"]),
    "other": dict(r=3, lora_alpha=2, use_rslora=True, target_modules=["q_proj"]),
    "third": dict(r=3, lora_alpha=4, target_modules=["q_proj", "down_proj"]),
    "wide": dict(r=5, lora_alpha=3, target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 2}),
}
TWO = {"one": 0.7, "other": 0.3}
MINUS = {"one": 0.7, "third": -0.3}
THREE = {"one": 0.5, "other": 1.25, "third": -0.75}
RANKS = {"one": 0.7, "wide": -1.5}
PRUNED = dict(density=0.4)
CASES = {
    "linear": (TWO, "linear", {}),
    "linear_minus": (MINUS, "linear", {}),
    "cat": (RANKS, "cat", {}),
    "svd": (RANKS, "svd", {}),
    "svd_of_rank_2": (THREE, "svd", dict(svd_rank=2)),
    "svd_of_one": ({"one": -0.5}, "svd", {}),
    "ties": (THREE, "ties", PRUNED),
    "ties_frequency": (THREE, "ties", PRUNED | dict(majority_sign_method="frequency")),
    "magnitude_prune": (THREE, "magnitude_prune", PRUNED),
    "ties_svd": (THREE, "ties_svd", PRUNED),
    "magnitude_prune_svd": (RANKS, "magnitude_prune_svd", PRUNED),
}


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    for seed, (name, config) in enumerate(ADAPTERS.items()):
        config = LoraConfig(**config, layers_to_transform=[1], layers_pattern="layers")
        # In bfloat16, many would be equally large, and which of them is pruned is not said.
        write_adapter(OUT / name, config, seed, torch.float32)
    first, *others = ADAPTERS
    model = PeftModel.from_pretrained(load(TINY), OUT / first, adapter_name=first)
    for name in others:
        model.load_adapter(OUT / name, adapter_name=name)
    # In float32, what torch decomposes is off by 2e-6.
    model.double()
    tensors, cases = {}, {}
    for case, (weights, combination_type, options) in CASES.items():
        model.add_weighted_adapter(list(weights), list(weights.values()), case, combination_type, **options)
        assert model.peft_config[case].lora_alpha == model.peft_config[case].r
        for name, tensor in get_peft_model_state_dict(model, adapter_name=case).items():
            tensors[f"{case}.{name.removeprefix('base_model.model.')}"] = tensor.float().contiguous()
        cases[case] = dict(weights=weights, combination_type=combination_type, **options)
    save_file(tensors, OUT / "blends.safetensors")
    text = json.dumps(dict(cases=cases, versions=versions("torch", "transformers", "peft")), indent=1)
    (OUT / "cases.json").write_text(text + "\n")
    for file in OUT.rglob("*.*"):
        file.chmod(0o644)


if __name__ == "__main__":
    main()
