"""What config.json looks like when the installed transformers saves it, and how it reads it: fixtures/configs/VERSION.json.

Needs transformers alone, without torch, in any version that knows Qwen2.5-VL. The configuration is that of fixtures/tiny.

defaults       what the classes take for text and vision where a file says nothing
cases.NAME     config: the file; expected: the values that transformers has after reading it
  tied         as save_pretrained writes it (only what differs from the defaults, as far as a version leaves those out)
  own_head     the same with tie_word_embeddings false
  all          every key that to_dict gives
"""

import json
import pathlib
import tempfile

import transformers
from transformers.models.qwen2_5_vl import configuration_qwen2_5_vl as classes

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
NEW = int(transformers.__version__.split(".")[0]) >= 5
TEXT = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads rms_norm_eps"
).split()
VISION = (
    "depth hidden_size num_heads intermediate_size out_hidden_size patch_size temporal_patch_size spatial_merge_size "
    "window_size fullatt_block_indexes in_channels"
).split()


def main():
    flat = json.loads((FIXTURES / "tiny/config.json").read_text())
    text_class = getattr(classes, "Qwen2_5_VLTextConfig", classes.Qwen2_5_VLConfig)
    defaults = {"text": text_values(text_class()), "vision": values(classes.Qwen2_5_VLVisionConfig(), VISION)}
    cases = {
        "tied": case(flat, saved),
        "own_head": case({**flat, "tie_word_embeddings": False}, saved),
        "all": case(flat, lambda config: json.loads(config.to_json_string(use_diff=False))),
    }
    out = FIXTURES / "configs"
    out.mkdir(exist_ok=True)
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    text = f'{{"defaults": {json.dumps(defaults)},\n "cases": {{\n{rows}\n}}}}\n'
    (out / f"{transformers.__version__}.json").write_text(text)


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
        return classes.Qwen2_5_VLConfig.from_pretrained(folder)


def saved(config):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return json.loads((pathlib.Path(folder) / "config.json").read_text())


def text_values(config):
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    theta = rope.get("rope_theta", getattr(config, "rope_theta", None))
    return values(config, TEXT) | {"rope_theta": theta, "mrope_section": rope.get("mrope_section")}


def values(config, names):
    return {name: getattr(config, name) for name in names}


if __name__ == "__main__":
    main()
