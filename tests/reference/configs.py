"""What config.json looks like when the installed transformers saves it, and how it reads it: fixtures/configs/VERSION.json.

Needs transformers alone, without torch, in any version that knows the family (`configs.py [FAMILY]`, Qwen2.5-VL without
one). The configuration is that of the family's tiny checkpoint.

defaults       what the classes take for text and vision where a file says nothing
cases.NAME     config: the file; expected: the values that transformers has after reading it
  tied         as save_pretrained writes it (only what differs from the defaults, as far as a version leaves those out)
  own_head     the same with tie_word_embeddings false
  all          every key that to_dict gives
"""

import importlib
import json
import pathlib
import sys
import tempfile

import transformers

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
NEW = int(transformers.__version__.split(".")[0]) >= 5
TEXT = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads rms_norm_eps"
).split()
VISION = "depth num_heads patch_size temporal_patch_size spatial_merge_size in_channels".split()
# Suffix of the folders, module, what class names begin with, more values of the text model and of the vision tower.
FAMILIES = {
    "qwen2.5-vl": (
        "", "qwen2_5_vl", "Qwen2_5_VL", "",
        "depth hidden_size num_heads intermediate_size out_hidden_size patch_size temporal_patch_size "
        "spatial_merge_size window_size fullatt_block_indexes in_channels",
    ),
    "qwen2-vl": ("-qwen2-vl", "qwen2_vl", "Qwen2VL", "", "embed_dim hidden_size mlp_ratio"),
    "qwen3-vl": (
        "-qwen3-vl", "qwen3_vl", "Qwen3VL", "head_dim",
        "hidden_size intermediate_size out_hidden_size num_position_embeddings deepstack_visual_indexes",
    ),
}  # fmt: skip
SUFFIX, MODULE, CLASSES, MORE_TEXT, MORE_VISION = FAMILIES[sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-vl"]
TEXT += MORE_TEXT.split()
VISION = MORE_VISION.split() if not SUFFIX else VISION + MORE_VISION.split()
classes = importlib.import_module(f"transformers.models.{MODULE}.configuration_{MODULE}")


def main():
    flat = json.loads((FIXTURES / f"tiny{SUFFIX}/config.json").read_text())
    text_class = getattr(classes, f"{CLASSES}TextConfig", cls("Config"))
    defaults = {"text": text_values(text_class()), "vision": values(cls("VisionConfig")(), VISION)}
    own_head = {**flat, "tie_word_embeddings": False}
    if "text_config" in flat:
        own_head["text_config"] = {**flat["text_config"], "tie_word_embeddings": False}
    cases = {
        "tied": case(flat, saved),
        "own_head": case(own_head, saved),
        "all": case(flat, lambda config: json.loads(config.to_json_string(use_diff=False))),
    }
    out = FIXTURES / f"configs{SUFFIX}"
    out.mkdir(exist_ok=True)
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    text = f'{{"defaults": {json.dumps(defaults)},\n "cases": {{\n{rows}\n}}}}\n'
    (out / f"{transformers.__version__}.json").write_text(text)


def cls(kind):
    return getattr(classes, CLASSES + kind)


def case(flat, write):
    file = write(read(flat))
    config = read(file)
    text = config if not hasattr(config, "get_text_config") else config.get_text_config(decoder=True)
    expected = {
        "text": text_values(text),
        "vision": values(config.vision_config, VISION),
        "image_token_id": config.image_token_id,
        "vision_start_token_id": config.vision_start_token_id,
        # What the model asks whether to tie: before version 5 the text model's.
        "tie_word_embeddings": (config if NEW else text).tie_word_embeddings,
    }
    return {"config": file, "expected": expected}


def read(file):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(file))
        return cls("Config").from_pretrained(folder)


def saved(config):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return json.loads((pathlib.Path(folder) / "config.json").read_text())


def text_values(config):
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    theta = rope.get("rope_theta", getattr(config, "rope_theta", None))
    return values(config, TEXT) | {"rope_theta": theta and float(theta), "mrope_section": rope.get("mrope_section")}


def values(config, names):
    return {name: getattr(config, name) for name in names}


if __name__ == "__main__":
    main()
