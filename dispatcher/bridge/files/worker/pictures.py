"""Images as a model is to see them: the first frame, upright, on white, no larger than it needs, without what else they carried;
only here is Pillow imported, which must have all of its readers before files can't be opened any more."""

from __future__ import annotations

import binascii
import copy
import mmap
import struct
import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import (
    GifImagePlugin,
    Image,
    ImageChops,
    ImageCms,
    ImageColor,
    ImageFile,
    ImageFilter,
    ImagePalette,
    ImageSequence,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from dispatcher.bridge.files.bounds import IMAGE_TYPES, MOST_PIXELS
from dispatcher.bridge.files.worker.refusing import Refused, short

Json = dict[str, Any]

STEPS = ((1568, 85), (1568, 75), (1344, 70), (1120, 70), (896, 65), (672, 60), (448, 55), (336, 50))
"""Largest side and JPEG quality, down to what is hardly an image any more. Models see no more than 1568 pixels a side: Anthropic
names that number, and those that fit on small boards cut theirs into tiles of 336 to 672."""

READERS = (GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
NEEDED = (
    copy,
    mmap,
    ImageChops,
    ImageCms,
    ImageColor,
    ImageFile,
    ImageFilter,
    ImagePalette,
    ImageSequence,
    TiffImagePlugin,
)
"""Pillow imports them when it meets what needs them (a palette, or a photograph's notes, which are a TIFF): too late here."""

KINDS = " or ".join(", ".join(IMAGE_TYPES.values()).rsplit(", ", 1))

BROKEN = (OSError, SyntaxError, ValueError, LookupError, TypeError, OverflowError, AttributeError, struct.error)
"""What Pillow's readers raise for files that lie about themselves."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.preinit()  # what Pillow would import when it opens the first image: too late then
Image.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)


def task(head: Json, given: list[bytes]) -> tuple[Json, list[bytes]]:
    """Read base64, and give base64 that fits into `room_bytes` together, with what became of each. Raises `Refused`."""
    side = _side_for(len(given))
    found = [_numbered(number, data, side) for number, data in enumerate(given, 1)]
    written, facts = fitted(found, int(head["room_bytes"]))
    return {"images": facts}, written


def _side_for(number: int) -> int:
    """Give the largest side with which so many have a chance to fit, and can be held at once."""
    return next(side for most, side in ((4, 1568), (8, 1120), (16, 896), (1000, 672)) if number <= most)


def _numbered(number: int, data: bytes, side: int) -> Image.Image:
    try:
        return opened(_plain(data), side)
    except Refused as refused:
        raise Refused(f"image {number} {refused}") from refused


def _plain(data: bytes) -> bytes:
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise Refused(f"is not base64 ({error})") from error


def kind_of(data: bytes) -> str | None:
    """Tell by its first bytes what an image is, whatever its sender calls it; None for all that is not taken."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return "GIF" if data[:6] in {b"GIF87a", b"GIF89a"} else None


def opened(data: bytes, side: int) -> Image.Image:
    """Read an image, no larger than `side`. Raises `Refused`."""
    kind = kind_of(data)
    if kind is None:
        what = "is empty" if not data else "is no image that is taken"
        raise Refused(f"{what}: send {KINDS}")
    try:
        with Image.open(BytesIO(data), formats=[kind]) as image:
            image.draft("RGB", (side, side))  # a JPEG is read at the size that is needed
            image.load()
            return upright(image, side)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(f"has more than {MOST_PIXELS // 10**6} million pixels: send a smaller one") from error
    except BROKEN as error:
        raise Refused(f"can't be read as {kind} ({short(error)}): save it again, as PNG or JPEG") from error


def upright(image: Image.Image, side: int) -> Image.Image:
    """Give what is seen of an image, and nothing else: turned as it was held, on white, no larger than `side`."""
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode not in {"L", "LA", "RGB", "RGBA", "CMYK"}:
        image = image.convert("RGBA" if image.mode.endswith(("A", "a")) else "RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if image.mode in {"LA", "RGBA"}:
        seen = image.convert("RGBA")
        image = Image.new("RGB", seen.size, "white")
        image.paste(seen, mask=seen.getchannel("A"))
    image = image.convert("RGB") if turn is None else image.convert("RGB").transpose(turn)
    image.info.clear()
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except BROKEN:
        return 1  # what can't be read turns nothing


def fitted(images: Sequence[Image.Image], room_bytes: int) -> tuple[list[bytes], list[Json]]:
    """Write images as base64 of JPEGs that have `room_bytes` together: the largest gives way first. Raises `Refused`."""
    at = [0] * len(images)
    written = [_written(image, 0) for image in images]
    while sum(map(len, written)) > room_bytes:
        largest = max(range(len(images)), key=lambda number: len(written[number]))
        at[largest] += 1
        if at[largest] == len(STEPS):
            raise Refused("they do not fit on the bus, however small: send fewer of them, or less text")
        written[largest] = _written(images[largest], at[largest])
    return written, [_facts(image, step) for image, step in zip(images, at, strict=True)]


def _written(image: Image.Image, step: int) -> bytes:
    side, quality = STEPS[step]
    out = BytesIO()
    _shrunk(image, side).save(out, "JPEG", quality=quality)
    return binascii.b2a_base64(out.getvalue(), newline=False)


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    if max(image.size) <= side:
        return image
    width, height = (max(1, round(length * side / max(image.size))) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _facts(image: Image.Image, step: int) -> Json:
    width, height = _shrunk(image, STEPS[step][0]).size
    return {"width": width, "height": height}
