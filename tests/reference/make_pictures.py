"""Draw the test pictures into fixtures/pictures: creatures on a gradient, in every form that is prepared otherwise."""

import math
import shutil

import numpy as np
from PIL import Image, ImageDraw

from common import PICTURES

BODY = {
    "red": (214, 48, 49),
    "blue": (9, 105, 218),
    "green": (46, 160, 67),
    "yellow": (245, 200, 66),
    "purple": (130, 80, 223),
}
SKY = [((236, 244, 255), (120, 160, 200)), ((255, 240, 220), (190, 140, 110)), ((230, 255, 235), (90, 150, 120))]


def main():
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    save("square.png", creature(56, 56, "red", ears="pointed"))  # the least size: 4 x 4 patches
    save("wide.png", creature(140, 84, "blue", ears="floppy"))  # 10 x 6 patches
    save("windows.png", creature(140, 168, "green", ears="short"))  # 10 x 12 patches: windows partly filled
    save("narrow.png", creature(40, 150, "yellow", ears="pointed"))
    save("tall.png", creature(61, 423, "purple", ears="floppy"))
    save("icon.png", creature(20, 20, "green", ears="short"))
    save("uneven.png", creature(97, 75, "red", ears="floppy"))

    save("grey.png", creature(100, 64, "blue", ears="pointed").convert("L"))
    save("palette.png", creature(96, 72, "yellow", ears="short").quantize(16, dither=Image.Dither.NONE))
    few = creature(90, 80, "green", ears="floppy").quantize(16, dither=Image.Dither.NONE)
    save("palette.gif", few)
    save("palette.bmp", few)
    save("grey.gif", creature(90, 80, "purple", ears="short").convert("L"))
    save("bits.tif", creature(90, 80, "blue", ears="short").convert("1"), compression="group4")
    cut = cut_out(90, 120, "purple", ears="pointed")
    save("alpha.png", cut)
    save("grey_alpha.png", cut.convert("LA"))
    indexed = creature(80, 60, "red", ears="short").quantize(8, dither=Image.Dither.NONE)
    save("palette_alpha.png", indexed, transparency=indexed.getpixel((0, 0)))

    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn by 90 degrees to show
    save("rotated.jpg", creature(120, 80, "green", ears="floppy"), quality=90, exif=exif)
    save("plain.jpg", creature(72, 88, "blue", ears="short"), quality=90, subsampling=0)
    save("lossless.webp", creature(88, 66, "yellow", ears="floppy"), lossless=True)
    save("alpha.webp", cut_out(64, 80, "red", ears="short"), lossless=True, exact=True)

    shapes = [(84, 56), (56, 84), (84, 84), (112, 56), (56, 56), (84, 112)]
    for i, (width, height) in enumerate(shapes):
        colour = list(BODY)[i % len(BODY)]
        save(f"creature_{i}.png", creature(width, height, colour, ears=["pointed", "floppy", "short"][i % 3]))
    print(f"pictures: {sum(f.stat().st_size for f in PICTURES.iterdir()) / 1e3:.0f} kB")


def creature(width, height, colour, ears):
    """A body, two ears, a tail and two eyes before a sky; every side of the picture looks different."""
    image = Image.fromarray(sky(width, height, SKY[len(colour + ears) % len(SKY)]))
    draw_creature(ImageDraw.Draw(image), width, height, BODY[colour], ears)
    return image


def cut_out(width, height, colour, ears):
    """The same creature with a soft edge; what lies under the transparent part is bright magenta, and must not show."""
    image = Image.new("RGBA", (width, height), (255, 0, 255, 0))
    draw_creature(ImageDraw.Draw(image), width, height, (*BODY[colour], 255), ears)
    y, x = np.mgrid[0:height, 0:width]
    fade = np.clip(2.2 * (1 - np.hypot((x - width / 2) / width, (y - height / 2) / height) * 1.8), 0, 1)
    pixels = np.array(image)
    pixels[..., 3] = np.rint(pixels[..., 3] * fade).astype(np.uint8)
    return Image.fromarray(pixels)


def sky(width, height, ends):
    top, bottom = (np.array(c, dtype=np.float64) for c in ends)
    y, x = np.mgrid[0:height, 0:width]
    down = (y / max(height - 1, 1))[..., None]
    ripple = 14 * np.sin(x / 5 + y / 11) + 8 * np.cos(y / 3)
    return np.clip(np.rint(top * (1 - down) + bottom * down + ripple[..., None]), 0, 255).astype(np.uint8)


def draw_creature(draw, width, height, colour, ears):
    def box(left, top, right, bottom):
        return [left * width, top * height, right * width, bottom * height]

    dark = tuple(c // 2 for c in colour[:3]) + tuple(colour[3:])
    tail = [(width * (0.7 + 0.25 * t / 8), height * (0.6 - 0.12 * math.sin(t))) for t in range(9)]
    draw.line(tail, fill=dark, width=max(2, width // 24))
    for left in (0.28, 0.52):
        if ears == "pointed":
            draw.polygon(
                [
                    (width * left, height * 0.4),
                    (width * (left + 0.1), height * 0.1),
                    (width * (left + 0.2), height * 0.4),
                ],
                fill=colour,
            )
        elif ears == "floppy":
            draw.ellipse(box(left - 0.06, 0.3, left + 0.08, 0.7), fill=dark)
        else:
            draw.ellipse(box(left, 0.22, left + 0.2, 0.42), fill=dark)
    draw.ellipse(box(0.22, 0.3, 0.78, 0.9), fill=colour)
    for left in (0.36, 0.56):
        draw.ellipse(box(left, 0.45, left + 0.09, 0.55), fill=(20, 20, 30) + tuple(colour[3:]))


def save(name, image, **options):
    if name.endswith(".png"):
        options["optimize"] = True
    image.save(PICTURES / name, **options)


if __name__ == "__main__":
    main()
