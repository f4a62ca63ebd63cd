"""What the reference scripts share: where fixtures go, and LLaMA-Factory's encoding restated in the few lines that
Qwen2.5-VL needs. encode.py and images.py check the restatement against LLaMA-Factory itself."""
import importlib.metadata
import json
import math
import pathlib

import torch

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
