"""What the reference scripts share: the families of models, where fixtures go, and LLaMA-Factory's encoding restated in
the few lines that these families need. encode.py and images.py check the restatement against LLaMA-Factory itself.

`--family NAME` on the command line of a script chooses the family, Qwen2.5-VL without it. What belongs to another one is
in folders of its own, which end in its name: logits of Qwen2-VL are in fixtures/logits-qwen2-vl."""

import importlib.metadata
import json
import math
import pathlib
import sys
from dataclasses import dataclass

import torch
from PIL import Image, ImageOps

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
PICTURES = FIXTURES / "pictures"

# preprocessor_config.json of the published models, which says the same for Qwen2.5-VL and Qwen2-VL.
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
# The edges are numbers of pixels, too.
IMAGE_PROCESSOR_QWEN3_VL = {
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}


@dataclass(frozen=True)
class Family:
    name: str
    classes: str  # what the names of its classes in transformers begin with
    model_type: str
    template: str
    image_processor: dict  # preprocessor_config.json of the published models
    system: str = ""  # the template's own system message; without one there is no system block
    suffix: str = ""  # of its folders in fixtures

    def cls(self, kind):
        import transformers

        return getattr(transformers, self.classes + kind)

    def load(self, folder, **options):
        return self.cls("ForConditionalGeneration").from_pretrained(folder, **options)


SYSTEM = "You are a helpful assistant."
FAMILIES = [
    Family("qwen2.5-vl", "Qwen2_5_VL", "qwen2_5_vl", "qwen2_vl", IMAGE_PROCESSOR, SYSTEM),
    Family(
        "qwen2-vl",
        "Qwen2VL",
        "qwen2_vl",
        "qwen2_vl",
        IMAGE_PROCESSOR | {"processor_class": "Qwen2VLProcessor"},
        SYSTEM,
        "-qwen2-vl",
    ),
    Family("qwen3-vl", "Qwen3VL", "qwen3_vl", "qwen3_vl_nothink", IMAGE_PROCESSOR_QWEN3_VL, suffix="-qwen3-vl"),
]


def chosen_family():
    """The family that the command line names; what names it is taken away from there."""
    name = FAMILIES[0].name
    if "--family" in sys.argv:
        at = sys.argv.index("--family")
        name = sys.argv[at + 1]
        del sys.argv[at : at + 2]
    return next(f for f in FAMILIES if f.name == name)


FAMILY = chosen_family()


def of_family(folder):
    """Where fixtures of this kind are for the chosen family."""
    return FIXTURES / (folder + FAMILY.suffix)


TINY = of_family("tiny")

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
    """The family's template: every slot tokenized on its own. Returns one (source, target) pair of ids a turn; the
    k-th `<image>` becomes image_tokens[k] image pads."""
    counts = iter(image_tokens)
    messages = [dict(m) for m in messages]
    for m in messages:
        while "<image>" in m["content"]:
            block = "<|vision_start|>" + "<|image_pad|>" * next(counts) + "<|vision_end|>"
            m["content"] = m["content"].replace("<image>", block, 1)
    system = FAMILY.system
    if messages[0]["role"] == "system":
        system = messages.pop(0)["content"] or system

    def ids(slot):
        return tokenizer.encode(slot, add_special_tokens=False)

    turns, source = [], ids(f"<|im_start|>system\n{system}<|im_end|>\n") if system else []
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
