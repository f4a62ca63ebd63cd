"""Small pictures in every file format and colour mode, and their pixels as Pillow reads them: fixtures/decode.

NAME.EXT                a picture
pixels.safetensors      NAME.EXT [H,W,3] uint8: RGB, the EXIF orientation applied, transparency on white

And fixtures/bombs.json: pictures of which sizes Pillow refuses as decompression bombs.
"""

import io
import json
import shutil
import struct
import zlib

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
    bombs()
    for name, data in [*jpegs(), *pngs(), *others()]:
        (OUT / name).write_bytes(data)
    pixels = {path.name: np.array(open_picture(path).convert("RGB")) for path in sorted(OUT.iterdir())}
    save_file(pixels, OUT / "pixels.safetensors", metadata=versions("pillow", "simplejpeg"))
    (OUT / "pixels.safetensors").chmod(0o644)
    print(f"decode: {len(pixels)} pictures, {sum(f.stat().st_size for f in OUT.iterdir()) / 1e3:.0f} kB")


def bombs():
    """Sizes around Pillow's limit, and whether it refuses to open a picture of them."""
    edge = 2 * Image.MAX_IMAGE_PIXELS
    sizes = [(9459, 9459), (9460, 9460), (10, edge // 10), (10, edge // 10 + 1), (13377, 13377), (13378, 13377), (23000, 23000)]
    cases = []
    for width, height in sizes:
        try:
            Image._decompression_bomb_check((width, height))
            refused = False
        except Image.DecompressionBombError:
            refused = True
        cases.append({"width": width, "height": height, "refused": refused})
    text = json.dumps({"versions": versions("pillow"), "sizes": cases}, indent=1)
    (FIXTURES / "bombs.json").write_text(text + "\n")


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


def pngs():
    """Those that Pillow cannot write."""
    samples = np.random.default_rng(16).integers(0, 1 << 16, (HEIGHT, WIDTH, 4))
    for name, colour_type, channels in [("rgb16", 2, 3), ("grey_alpha16", 4, 2), ("rgba16", 6, 4)]:
        yield f"{name}.png", png(samples[..., :channels], colour_type)


def png(samples, colour_type):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def others():
    image = colours()
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    grey, bits, few = image.convert("L"), image.convert("1"), image.quantize(16, dither=Image.Dither.NONE)
    background = few.getpixel((0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6

    yield "keyed.png", encoded(image, "PNG", transparency=image.getpixel((0, 0)))
    yield "palette.gif", encoded(few, "GIF")
    yield "grey.gif", encoded(grey, "GIF")
    yield "transparent.gif", encoded(few, "GIF", transparency=background)
    yield "animated.gif", encoded(few, "GIF", save_all=True, append_images=[image.quantize(4)])
    yield "rgb.bmp", encoded(image, "BMP")
    yield "palette.bmp", encoded(few, "BMP")
    yield "bits.bmp", encoded(bits, "BMP")
    yield "lzw.tif", encoded(image, "TIFF", compression="tiff_lzw")
    yield "alpha.tif", encoded(alpha, "TIFF", compression="tiff_deflate")
    yield "cmyk.tif", encoded(image.convert("CMYK"), "TIFF", compression="packbits")
    yield "grey.tif", encoded(grey, "TIFF")
    yield "fax.tif", encoded(bits, "TIFF", compression="group4")
    yield "rotated.tif", encoded(image, "TIFF", exif=exif)
    square = alpha.resize((32, 32))
    yield "png.ico", encoded(square, "ICO", sizes=[(16, 16), (32, 32)])
    yield "bmp.ico", encoded(square, "ICO", sizes=[(32, 32)], bitmap_format="bmp")
    yield "rgb.ppm", encoded(image, "PPM")
    yield "grey.pgm", encoded(grey, "PPM")
    yield "bits.pbm", encoded(bits, "PPM")
    yield "rgba.qoi", encoded(alpha, "QOI")
    yield "lossy.webp", encoded(image, "WebP", quality=80)
    yield "lossy_alpha.webp", encoded(alpha, "WebP", quality=80)
    yield "animated.webp", encoded(image, "WebP", lossless=True, save_all=True, append_images=[alpha])


def encoded(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


if __name__ == "__main__":
    main()
