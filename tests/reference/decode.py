"""Small pictures of every kind of JPEG file, and their pixels as Pillow reads them: fixtures/decode.

NAME.EXT                a picture
pixels.safetensors      NAME.EXT [H,W,3] uint8: RGB, the EXIF orientation applied, transparency on white
"""

import io
import shutil

import numpy as np
import simplejpeg
from PIL import Image
from safetensors.numpy import save_file

from common import FIXTURES, open_picture, versions

OUT = FIXTURES / "decode"
# The sides are no multiple of a JPEG block (8) or of two.
WIDTH, HEIGHT = 35, 27


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for name, data in jpegs():
        (OUT / name).write_bytes(data)
    pixels = {path.name: np.array(open_picture(path).convert("RGB")) for path in sorted(OUT.iterdir())}
    save_file(pixels, OUT / "pixels.safetensors", metadata=versions("pillow", "simplejpeg"))
    (OUT / "pixels.safetensors").chmod(0o644)
    print(f"decode: {len(pixels)} pictures, {sum(f.stat().st_size for f in OUT.iterdir()) / 1e3:.0f} kB")


def colours(width=WIDTH, height=HEIGHT):
    """Smooth areas, hard edges in saturated colours, and noise: what decoders disagree about."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / 7 + y / 13), 128 + 110 * np.cos(x / 11 - y / 5), 128 + 120 * np.sin((x + y) / 9)]
    pixels = np.stack(waves, -1)
    pixels[(x // 6 + y // 6) % 5 == 0] = [255, 0, 0]
    pixels += np.random.default_rng(24).normal(0, 10, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def jpegs():
    image = colours()
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        yield f"{name}.jpg", encoded(image, "JPEG", quality=80, subsampling=subsampling)
        progressive = encoded(image, "JPEG", quality=80, subsampling=subsampling, progressive=True)
        yield f"{name}_progressive.jpg", progressive
    for name in ["440", "411"]:
        yield f"{name}.jpg", simplejpeg.encode_jpeg(np.array(image), quality=80, colorsubsampling=name)
    yield "restarts.jpg", encoded(image, "JPEG", quality=80, restart_marker_blocks=1)
    yield "narrow.jpg", encoded(image.crop((0, 0, 1, HEIGHT)), "JPEG", subsampling=2)
    yield "flat.jpg", encoded(image.crop((0, 0, WIDTH, 1)), "JPEG", subsampling=2)
    yield "grey.jpg", encoded(image.convert("L"), "JPEG")
    yield "rgb.jpg", encoded(image, "JPEG", keep_rgb=True)
    cmyk = encoded(image.convert("CMYK"), "JPEG")
    yield "cmyk.jpg", cmyk
    # Adobe's marker: length 14, the name, version, two flags, and the transform, of which 2 is YCCK.
    marker = cmyk.index(b"\xff\xee\x00\x0eAdobe")
    yield "cmyk_without_adobe.jpg", cmyk[:marker] + cmyk[marker + 16 :]
    yield "ycck.jpg", cmyk[: marker + 15] + b"\x02" + cmyk[marker + 16 :]


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


if __name__ == "__main__":
    main()
