"""Write the data that the benchmarks train on: python make_data.py OUT

bench  32 samples of one picture (224 × 224, which is 64 tokens) and about 57 tokens of text
large  4 samples of one picture (640 × 480) and about 57 tokens of text
long   a question and an answer that together are longer than 4,096 tokens, for cutoff_len to cut
"""

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

SAMPLES = 32
PICTURE, LARGE = (224, 224), (640, 480)
WORDS = (
    "red blue small large creature with long ears and short tail stands on green grass near old stone wall under "
    "bright sky it looks calm friendly curious strong"
).split()
QUESTION = "Describe this picture."


def main(out):
    out.mkdir(parents=True)
    random.seed(0)
    bench = []
    for i in range(SAMPLES):
        picture(PICTURE).save(out / f"{i}.png")
        bench.append(sample("<image>" + QUESTION, text(34), images=[f"{i}.png"]))
    write(out / "bench.json", bench)
    write(out / "long.json", [sample(text(3000), text(3000))])
    large = []
    for i in range(4):
        picture(LARGE).save(out / f"large{i}.png")
        large.append(sample("<image>" + QUESTION, text(34), images=[f"large{i}.png"]))
    write(out / "large.json", large)
    write(
        out / "dataset_info.json",
        {
            "bench": declaration("bench.json", images="images"),
            "large": declaration("large.json", images="images"),
            "long": declaration("long.json"),
        },
    )


def picture(size):
    image = Image.new("RGB", size, colour())
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = (random.randrange(side) for side in size)
        draw.ellipse([x, y, x + 40, y + 40], fill=colour())
    return image


def colour():
    return tuple(random.randrange(256) for _ in range(3))


def text(words):
    return " ".join(random.choices(WORDS, k=words)) + "."


def sample(question, answer, **columns):
    return dict(messages=[dict(role="user", content=question), dict(role="assistant", content=answer)], **columns)


def declaration(file, **columns):
    tags = dict(role_tag="role", content_tag="content", user_tag="user", assistant_tag="assistant")
    return dict(file_name=file, formatting="sharegpt", columns=dict(messages="messages", **columns), tags=tags)


def write(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
