"""The image path of LLaMA-Factory and transformers, picture by picture: fixtures/images.

cases.json            every case: picture, image_max_pixels, sizes on the way, grid
CASE.safetensors      source [H,W,3]: the file as tunebook reads it (EXIF applied, transparency on white), uint8
                      pre_resized [H,W,3]: after LLaMA-Factory's resize (Pillow), uint8
                      resized [H,W,3]: after the image processor's resize (torchvision backend), uint8
                      pixel_values [N,1176 or 1536] float32, image_grid_thw [1,3]: what the model takes
                      (an array equal to the one before it is left out; so is pixel_values over 24 patches)
sizes.json            width, height, image_max_pixels -> sizes on the way and grid, without pictures
preprocessor_config.json  what the image processor was made from, where that is not the tiny checkpoint's: Qwen3-VL. The
                      published one makes no picture smaller than 64 tokens, so there is a single case
"""

import shutil

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor

from common import FAMILY, IMAGE_MAX_PIXELS, PICTURES, TINY
from common import dump, dump_rows, of_family, open_picture, pre_resize, versions

OUT = of_family("images")
SMALL = 5000  # an image_max_pixels that makes LLaMA-Factory shrink most of the test pictures

CASES = [
    ("alpha.png", IMAGE_MAX_PIXELS),
    ("alpha.png", SMALL),
    ("alpha.webp", IMAGE_MAX_PIXELS),
    ("grey.png", IMAGE_MAX_PIXELS),
    ("grey.png", SMALL),
    ("grey_alpha.png", SMALL),
    ("bits.tif", SMALL),
    ("grey.gif", SMALL),
    ("palette.bmp", SMALL),
    ("palette.gif", SMALL),
    ("icon.png", IMAGE_MAX_PIXELS),
    ("lossless.webp", IMAGE_MAX_PIXELS),
    ("narrow.png", IMAGE_MAX_PIXELS),
    ("narrow.png", SMALL),
    ("palette.png", IMAGE_MAX_PIXELS),
    ("palette.png", SMALL),
    ("palette_alpha.png", SMALL),
    ("plain.jpg", IMAGE_MAX_PIXELS),
    ("rotated.jpg", IMAGE_MAX_PIXELS),
    ("rotated.jpg", SMALL),
    ("tall.png", IMAGE_MAX_PIXELS),
    ("tall.png", SMALL),
    ("uneven.png", IMAGE_MAX_PIXELS),
    ("uneven.png", SMALL),
    ("uneven.png", 2000),
    ("wide.png", IMAGE_MAX_PIXELS),
    ("windows.png", SMALL),
]
SIZES = [
    (20, 20), (32, 32), (64, 64), (300, 300), (475, 475), (640, 480), (768, 768), (1024, 768), (4000, 3000),
    (1920, 1080), (10, 500), (5, 2000), (98, 70), (42, 126), (70, 42), (27, 28), (3, 3), (1, 900), (6000, 28),
    (777, 759), (768, 769), (1000, 590), (2048, 288), (14, 41), (56, 55), (513, 511),
]  # fmt: skip
BEYOND = 2**26  # an image_max_pixels over that of every image processor
LARGE = []
if FAMILY.name == "qwen3-vl":
    CASES = [("wide.png", IMAGE_MAX_PIXELS)]
    SIZES += [(886, 665), (1024, 576), (28, 500)]
    LARGE = [(5000, 4000), (4096, 4096)]


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    if FAMILY.name == "qwen3-vl":
        dump(OUT / "preprocessor_config.json", FAMILY.image_processor)
    processor = AutoImageProcessor.from_pretrained(OUT if FAMILY.name == "qwen3-vl" else TINY)
    backend = type(processor).__mro__[1].__name__
    made_by = versions("transformers", "torchvision", "pillow")
    cases = [case(processor, name, max_pixels) for name, max_pixels in CASES]
    dump_rows(OUT / "cases.json", "cases", cases, versions=made_by, backend=backend)
    sizes = [
        dict(image=[w, h], image_max_pixels=m, **measure(processor, w, h, m))
        for w, h, m in [(w, h, m) for w, h in SIZES for m in (IMAGE_MAX_PIXELS, 262144)]
        + [(w, h, BEYOND) for w, h in LARGE]
    ]
    dump_rows(OUT / "sizes.json", "sizes", sizes, versions=made_by)
    total = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{len(CASES)} cases by {backend}, {total / 1e6:.2f} MB")


def case(processor, name, max_pixels):
    stages = {"source": open_picture(PICTURES / name)}
    stages["pre_resized"] = pre_resize(stages["source"], max_pixels)
    output = processor([stages["pre_resized"]], return_tensors="pt")
    pixels = output["pixel_values"]
    stages["resized"] = picture_of(pixels, output["image_grid_thw"][0].tolist(), processor)
    tensors, before = {"image_grid_thw": output["image_grid_thw"]}, None
    for stage, image in stages.items():
        array = torch.from_numpy(np.array(image.convert("RGB")))
        if before is None or not torch.equal(array, before):
            tensors[stage] = array
        before = array
    if pixels.shape[0] <= 24:
        tensors["pixel_values"] = pixels
    file = f"{name.replace('.', '_')}_{max_pixels}.safetensors"
    save_file(tensors, OUT / file)
    (OUT / file).chmod(0o644)
    return {
        "file": file,
        "image": name,
        "mode": Image.open(PICTURES / name).mode,
        "image_max_pixels": max_pixels,
        **{stage: list(image.size) for stage, image in stages.items()},
        "image_grid_thw": output["image_grid_thw"][0].tolist(),
    }


def picture_of(pixel_values, grid, processor):
    """Undoes normalisation and patching: the exact bytes that the processor's resize gave."""
    t, h, w = grid
    mean, std = (torch.tensor(x, dtype=torch.float64) for x in (processor.image_mean, processor.image_std))
    p = processor.patch_size
    x = pixel_values.double().reshape(t, h // 2, w // 2, 2, 2, 3, 2, p, p)
    x = x.permute(0, 6, 1, 3, 7, 2, 4, 8, 5).reshape(2 * t, h * p, w * p, 3)  # frame, row, column, channel
    assert torch.equal(x[0], x[1])
    levels = (x[0] * std + mean) * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    return Image.fromarray(levels.round().to(torch.uint8).numpy())


def measure(processor, width, height, max_pixels):
    image = pre_resize(Image.new("RGB", (width, height)), max_pixels)
    grid = processor([image], return_tensors="pt")["image_grid_thw"][0].tolist()
    return {
        "pre_resized": list(image.size),
        "resized": [grid[2] * processor.patch_size, grid[1] * processor.patch_size],
        "image_grid_thw": grid,
        "image_tokens": grid[0] * grid[1] * grid[2] // 4,
    }


if __name__ == "__main__":
    main()
