"""Boxes of one data set in every scale, and as Qwen's notebook for fine-tuning converts them for each family.

fixtures/boxes/PICTURE      a picture with rectangles of one colour each, for all families
fixtures/boxes/SCALE.json   questions and answers with the boxes of these rectangles in that scale: pixels of the file,
                            resized (pixels of the picture before the model), norm1000, norm1; in both of Qwen's notations
fixtures/boxes/expected.json  colours and corners in the file, sizes before the model, and the answers with their boxes in
                            the family's own scale, converted from pixels of the file
"""

import json
import shutil

from PIL import Image, ImageDraw
from transformers import AutoImageProcessor

from common import FAMILIES, FAMILY, FIXTURES, TINY, dump, of_family, open_picture, pre_resize, versions

OUT = of_family("boxes")
PICTURES = FIXTURES / "boxes"
SIZES = {"field.png": (640, 480), "large.png": (1000, 800)}  # LLaMA-Factory shrinks the second
COLOURS = {"red": (230, 25, 75), "green": (60, 180, 75), "blue": (67, 99, 216)}
# As shares of 640 x 480 and 1000 x 800, in pixels: x1, y1, x2, y2, the last two not included.
CORNERS = {
    "field.png": [[37, 51, 203, 149], [301, 260, 417, 479], [520, 3, 640, 120]],
    "large.png": [[0, 0, 333, 271], [611, 97, 903, 402], [450, 640, 777, 800]],
}
SCALES = ["pixels", "resized", "norm1000", "norm1"]
OWN = "resized" if FAMILY.name == "qwen2.5-vl" else "norm1000"


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    if FAMILY is FAMILIES[0]:
        for name, size in SIZES.items():
            draw(name, size).save(PICTURES / name, optimize=True)
    processor = AutoImageProcessor.from_pretrained(TINY)
    patch = processor.patch_size
    resized = {}
    for name in SIZES:
        image = pre_resize(open_picture(PICTURES / name))
        _, height, width = processor([image], return_tensors="pt")["image_grid_thw"][0].tolist()
        resized[name] = (width * patch, height * patch)
    info, path = {}, "" if OUT == PICTURES else f"../{PICTURES.name}/"
    for scale in SCALES:
        samples = [
            {
                "messages": [
                    {"role": role, "content": content}
                    for role, content in zip(["user", "assistant"] * 2, conversation(name, scale, resized[name]))
                ],
                "images": [path + name],
            }
            for name in SIZES
        ]
        dump(OUT / f"{scale}.json", samples)
        info[scale] = {
            "file_name": f"{scale}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
            },
        }
    dump(OUT / "dataset_info.json", info)
    expected = [
        {
            "picture": name,
            "size": SIZES[name],
            "resized": resized[name],
            "corners": CORNERS[name],
            "colours": list(COLOURS.values()),
            "labels": list(COLOURS),
            "answers": conversation(name, OWN, resized[name])[1::2],
        }
        for name in SIZES
    ]
    dump(OUT / "expected.json", {"own": OWN, "samples": expected, "versions": versions("transformers", "pillow")})


def draw(name, size):
    image = Image.new("RGB", size, (200, 200, 200))
    for (x1, y1, x2, y2), colour in zip(CORNERS[name], COLOURS.values()):
        ImageDraw.Draw(image).rectangle([x1, y1, x2 - 1, y2 - 1], fill=colour)
    return image


def conversation(name, scale, resized):
    boxes = [convert(box, scale, SIZES[name], resized) for box in CORNERS[name]]
    items = [json.dumps({"bbox_2d": box, "label": label}) for box, label in zip(boxes, COLOURS)]
    marked = [
        f"<|object_ref_start|>{label}<|object_ref_end|><|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"
        for (x1, y1, x2, y2), label in zip(boxes, COLOURS)
    ]
    return ["<image>Find all.", "```json\n[\n\t" + ",\n\t".join(items) + "\n]\n```", "Again.", "\n".join(marked)]


def convert(box, scale, size, resized):
    """As `process_bbox.ipynb` in Qwen's repository does for Qwen2.5-VL: rounded, and not beyond the last pixel."""
    if scale == "pixels":
        return box
    ratios = [side / before for side, before in zip({"resized": resized, "norm1000": (1000, 1000)}.get(scale, (1, 1)), size)]
    values = [value * ratios[index % 2] for index, value in enumerate(box)]
    if scale == "norm1":
        return [round(value, 5) for value in values]
    most = [side - 1 for side in resized] if scale == "resized" else (1000, 1000)
    return [max(0, min(round(value), most[index % 2])) for index, value in enumerate(values)]


if __name__ == "__main__":
    main()
