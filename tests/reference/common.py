"""What the reference scripts share: where fixtures go, and LLaMA-Factory's encoding restated in the few lines that
Qwen2.5-VL needs. encode.py and images.py check the restatement against LLaMA-Factory itself."""

import importlib.metadata
import json
import math
import pathlib

import torch
from PIL import Image, ImageOps

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
TINY = FIXTURES / "tiny"
PICTURES = FIXTURES / "pictures"

# preprocessor_config.json of the published Qwen2.5-VL models.
IMAGE_PROCESSOR = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}

# LLaMA-Factory's defaults for image_max_pixels and image_min_pixels.
IMAGE_MAX_PIXELS = 768 * 768
IMAGE_MIN_PIXELS = 32 * 32


def versions(*packages):
    return {p: importlib.metadata.version(p) for p in packages}


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def dump_rows(path, key, rows, **head):
    """Like `dump` of {**head, key: rows}, with one row a line."""
    rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in rows)
    head = "".join(f"  {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
    path.write_text(f'{{\n{head}  "{key}": [\n{rows}\n  ]\n}}\n', encoding="utf-8")


def open_picture(path):
    """Reads a picture as tunebook does, which differs from LLaMA-Factory on purpose: the EXIF orientation is applied
    and transparency is laid on white."""
    image = ImageOps.exif_transpose(Image.open(path))
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    return image


def pre_resize(image, max_pixels=IMAGE_MAX_PIXELS, min_pixels=IMAGE_MIN_PIXELS):
    """LLaMA-Factory's own resize, before the model's image processor sees the picture."""
    if image.width * image.height > max_pixels:
        factor = math.sqrt(max_pixels / (image.width * image.height))
        image = image.resize((int(image.width * factor), int(image.height * factor)))
    if image.width * image.height < min_pixels:
        factor = math.sqrt(min_pixels / (image.width * image.height))
        image = image.resize((int(image.width * factor), int(image.height * factor)))
    image = image.convert("RGB")
    if min(image.size) < 28:
        image = image.resize((max(image.width, 28), max(image.height, 28)))
    if image.width / image.height > 200:
        image = image.resize((image.height * 180, image.height))
    if image.height / image.width > 200:
        image = image.resize((image.width, image.width * 180))
    return image


def encode_turns(tokenizer, messages, image_tokens):
    """The qwen2_vl template: every slot tokenized on its own. Returns one (source, target) pair of ids a turn; the
    k-th `<image>` becomes image_tokens[k] image pads."""
    counts = iter(image_tokens)
    messages = [dict(m) for m in messages]
    for m in messages:
        while "<image>" in m["content"]:
            block = "<|vision_start|>" + "<|image_pad|>" * next(counts) + "<|vision_end|>"
            m["content"] = m["content"].replace("<image>", block, 1)
    system = "You are a helpful assistant."
    if messages[0]["role"] == "system":
        system = messages.pop(0)["content"] or system

    def ids(slot):
        return tokenizer.encode(slot, add_special_tokens=False)

    turns, source = [], ids(f"<|im_start|>system\n{system}<|im_end|>\n")
    for m in messages:
        if m["role"] == "user":
            source += ids(f"<|im_start|>user\n{m['content']}<|im_end|>\n<|im_start|>assistant\n")
        else:
            turns.append((source, ids(f"{m['content']}<|im_end|>\n")))
            source = []
    if source:
        turns.append((source, []))
    return turns


def model_inputs(processor, messages, pictures, max_pixels=IMAGE_MAX_PIXELS):
    """Messages and picture files to the tensors that the model takes, a batch of one."""
    inputs, counts = {}, []
    if pictures:
        images = [pre_resize(open_picture(PICTURES / p), max_pixels) for p in pictures]
        inputs = dict(processor.image_processor(images, return_tensors="pt"))
        counts = (inputs["image_grid_thw"].prod(-1) // 4).tolist()
    ids = [i for turn in encode_turns(processor.tokenizer, messages, counts) for part in turn for i in part]
    inputs["input_ids"] = torch.tensor([ids])
    # Given, because `generate` otherwise masks every token that happens to be the pad token.
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    image_pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    inputs["mm_token_type_ids"] = (inputs["input_ids"] == image_pad).int()
    return inputs
