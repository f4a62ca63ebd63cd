"""Ask LLaMA-Factory which parameters train: fixtures/train/trainable.json. (Virtual environment of
requirements-llamafactory.txt.)

One row a choice of arguments: how many parameters train on the shapes of Qwen2.5-VL-3B, and the names of those that
train on the tiny checkpoint, without what PEFT puts around them.

For other families:
shapes        of each published size: what shapes its parameters, and how many there are
parameters    how many train on each size
target_modules  the list in PEFT's adapter_config.json on each size and on the tiny checkpoint, sorted
names         as above
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoConfig

from common import FAMILY, TINY, dump_rows, of_family, versions

# config.json of Qwen2.5-VL-3B-Instruct, as far as it shapes parameters.
SHAPES_3B = dict(hidden_size=2048, intermediate_size=11008, num_attention_heads=16, num_hidden_layers=36)
SHAPES_3B |= dict(num_key_value_heads=2, vocab_size=151936, layer_types=["full_attention"] * 36)
VISION_3B = dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=2048)

# The same of other families.
VISION_QWEN2_VL = dict(depth=32, embed_dim=1280, mlp_ratio=4, num_heads=16)
VISION_QWEN3_VL = dict(depth=24, hidden_size=1024, intermediate_size=4096, num_heads=16, num_position_embeddings=2304)
VISION_QWEN3_VL |= dict(deepstack_visual_indexes=[5, 11, 17])
SIZES = {
    "qwen2-vl": {
        "2b": dict(
            text=dict(
                hidden_size=1536, intermediate_size=8960, num_attention_heads=12, num_hidden_layers=28,
                num_key_value_heads=2, vocab_size=151936,
            ),
            vision=dict(**VISION_QWEN2_VL, hidden_size=1536),
            tie_word_embeddings=True,
        ),
        "7b": dict(
            text=dict(
                hidden_size=3584, intermediate_size=18944, num_attention_heads=28, num_hidden_layers=28,
                num_key_value_heads=4, vocab_size=152064,
            ),
            vision=dict(**VISION_QWEN2_VL, hidden_size=3584),
            tie_word_embeddings=False,
        ),
    },
    "qwen3-vl": {
        "2b": dict(
            text=dict(
                hidden_size=2048, intermediate_size=6144, num_attention_heads=16, num_hidden_layers=28,
                num_key_value_heads=8, head_dim=128, vocab_size=151936,
            ),
            vision=dict(**VISION_QWEN3_VL, out_hidden_size=2048),
            tie_word_embeddings=True,
        ),
        "4b": dict(
            text=dict(
                hidden_size=2560, intermediate_size=9728, num_attention_heads=32, num_hidden_layers=36,
                num_key_value_heads=8, head_dim=128, vocab_size=151936,
            ),
            vision=dict(**VISION_QWEN3_VL, out_hidden_size=2560),
            tie_word_embeddings=True,
        ),
        "8b": dict(
            text=dict(
                hidden_size=4096, intermediate_size=12288, num_attention_heads=32, num_hidden_layers=36,
                num_key_value_heads=8, head_dim=128, vocab_size=151936,
            ),
            vision=dict(
                depth=27, hidden_size=1152, intermediate_size=4304, num_heads=16, num_position_embeddings=2304,
                deepstack_visual_indexes=[8, 16, 24], out_hidden_size=4096,
            ),
            tie_word_embeddings=False,
        ),
    },
}  # fmt: skip

VISION = dict(freeze_vision_tower=False)
PROJECTOR = dict(freeze_multi_modal_projector=False)
NO_TEXT = dict(freeze_language_model=True)
CASES = [
    dict(),
    dict(lora_rank=64),
    dict(lora_rank=8, **VISION),
    dict(lora_rank=64, **VISION),
    dict(**VISION, **NO_TEXT),
    dict(**PROJECTOR),
    dict(**VISION, **PROJECTOR),
    dict(lora_target="q_proj,v_proj"),
    dict(lora_target="qkv,o_proj", **VISION),
    dict(lora_target="proj"),
    dict(lora_target="proj", **VISION),
    dict(lora_target="merger.linear_fc1" if FAMILY.name == "qwen3-vl" else "mlp.0", **PROJECTOR),
    dict(use_dora=True),
    dict(additional_target="embed_tokens"),
    dict(additional_target="lm_head,merger"),
    dict(additional_target="norm"),
    dict(finetuning_type="freeze"),
    dict(finetuning_type="freeze", freeze_trainable_layers=-1),
    dict(finetuning_type="freeze", freeze_trainable_layers=-1, **VISION),
    dict(finetuning_type="freeze", freeze_trainable_layers=1, **PROJECTOR),
    dict(finetuning_type="freeze", freeze_trainable_layers=-1, **VISION, **PROJECTOR),
    dict(finetuning_type="freeze", freeze_trainable_modules="self_attn,input_layernorm"),
    dict(finetuning_type="freeze", freeze_trainable_modules="mlp", freeze_extra_modules="embed_tokens"),
    dict(finetuning_type="freeze", freeze_extra_modules="norm"),
    dict(finetuning_type="full"),
    dict(finetuning_type="full", **VISION),
    dict(finetuning_type="full", **PROJECTOR),
    dict(finetuning_type="full", **VISION, **PROJECTOR),
    dict(finetuning_type="full", **PROJECTOR, **NO_TEXT),
    dict(finetuning_type="full", **VISION, **NO_TEXT),
]


def main():
    logging.disable(logging.WARNING)
    if FAMILY.name in SIZES:
        return of_sizes(SIZES[FAMILY.name])
    tiny = AutoConfig.from_pretrained(TINY)
    large = AutoConfig.from_pretrained(TINY)
    for key, value in SHAPES_3B.items():
        setattr(large.text_config, key, value)
    for key, value in VISION_3B.items():
        setattr(large.vision_config, key, value)
    rows = []
    for case in CASES:
        parameters = sum(p.numel() for _, p in trainable(large, case))
        names = sorted(plain(name) for name, _ in trainable(tiny, case))
        rows.append(dict(arguments=case, parameters=parameters, names=names))
        print(parameters, len(names), case)
    made_by = versions("llamafactory", "torch", "transformers", "peft")
    dump_rows(of_family("train") / "trainable.json", "cases", rows, versions=made_by)


def of_sizes(sizes):
    configs = {"tiny": AutoConfig.from_pretrained(TINY)}
    shapes = {}
    for size, shape in sizes.items():
        tied = shape["tie_word_embeddings"]
        configs[size] = FAMILY.cls("Config")(
            text_config=shape["text"] | dict(tie_word_embeddings=tied),
            vision_config=shape["vision"],
            tie_word_embeddings=tied,
        )
        parameters = sum(p.numel() for p in on_meta(configs[size]).parameters())
        shapes[size] = dict(parameters=parameters, **shape)
    rows = []
    for case in CASES:
        models = {size: adapted(config, case) for size, config in configs.items()}
        row = dict(arguments=case)
        row["parameters"] = {size: sum(p.numel() for _, p in training(models[size])) for size in sizes}
        if isinstance(models["tiny"], PeftModel):
            row["target_modules"] = {size: target_modules(model) for size, model in models.items()}
        row["names"] = sorted(plain(name) for name, _ in training(models["tiny"]))
        rows.append(row)
        print(row["parameters"], len(row["names"]), case)
    made_by = versions("llamafactory", "torch", "transformers", "peft")
    dump_rows(of_family("train") / "trainable.json", "cases", rows, versions=made_by, shapes=shapes)


def target_modules(model):
    with tempfile.TemporaryDirectory() as folder:
        model.peft_config["default"].save_pretrained(folder)
        targets = json.loads(Path(folder, "adapter_config.json").read_text())["target_modules"]
    return sorted(targets) if isinstance(targets, list) else targets


def trainable(config, arguments):
    return training(adapted(config, arguments))


def training(model):
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def on_meta(config):
    with torch.device("meta"):
        model = FAMILY.cls("ForConditionalGeneration")(config)
        model.tie_weights()
    return model


def adapted(config, arguments):
    from llamafactory.hparams import FinetuningArguments, ModelArguments
    from llamafactory.model.adapter import init_adapter

    with torch.device("meta"):
        model = on_meta(config)
        arguments = FinetuningArguments(finetuning_type=arguments.get("finetuning_type", "lora"), **{
            key: value for key, value in arguments.items() if key != "finetuning_type"
        })
        return init_adapter(config, model, ModelArguments(model_name_or_path="tiny"), arguments, is_trainable=True)


def plain(name):
    for part in ("base_model.model.", ".default", ".modules_to_save"):
        name = name.replace(part, "")
    return name


if __name__ == "__main__":
    main()
