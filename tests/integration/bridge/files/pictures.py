"""Images as people send them, and as those who mean harm do: made when they are needed, and kept nowhere."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image

CANARY = b"canary-in-the-metadata"


def plain(data: bytes) -> str:
    """Write bytes as turns have them."""
    return base64.b64encode(data).decode()


def read(image: str) -> Image.Image:
    """Read what arrived."""
    return Image.open(BytesIO(base64.b64decode(image)))


def drawn(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    """Draw an image whose left half is red, and whose right half is blue."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    return saved(image.convert(mode), kind, **options)


@cache
def noise(side: int) -> bytes:
    """Draw an image that can't be packed."""
    return saved(Image.effect_noise((side, side), 90).convert("RGB"), "JPEG", quality=92)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Write an image as a file."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Write a piece of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, color: int = 0) -> bytes:
    """Write a PNG of eight bits from its pieces, the first and the last of which are added."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", head, *chunks, chunk(b"IEND", b"")))


def black(width: int, height: int, *, whole: bool = True) -> bytes:
    """Write the pixels of a black image, which pack by a thousand; or only the first of them."""
    return chunk(b"IDAT", zlib.compress(b"\0" * ((width + 1) * (height if whole else 10)), 9))


@cache
def packed(megabytes: int) -> bytes:
    """Pack so many megabytes of nothing."""
    return zlib.compress(bytes(megabytes << 20), 1)


def apng(frames: int) -> bytes:
    """Write an animated PNG of one pixel."""
    control = [chunk(b"acTL", struct.pack(">II", frames, 0)), chunk(b"fcTL", _frame(0)), black(1, 1)]
    for number in range(1, frames):
        data = struct.pack(">I", 2 * number) + zlib.compress(b"\0\0")
        control += [chunk(b"fcTL", _frame(2 * number - 1)), chunk(b"fdAT", data)]
    return png(1, 1, *control)


def _frame(number: int) -> bytes:
    return struct.pack(">IIIIIHHBB", number, 1, 1, 0, 0, 1, 10, 0, 0)


def gif(frames: int) -> bytes:
    """Write a GIF of one pixel and many frames."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b"\x3b"


def animated_webp(frames: int) -> bytes:
    """Write a WebP with so many frames."""
    first, *rest = (Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(frames))
    return saved(first, "WEBP", save_all=True, append_images=rest)


def bombs() -> dict[str, Callable[[], bytes]]:
    """Images that are to be refused."""
    return {
        "2,500 million pixels": lambda: png(50_000, 50_000, black(50_000, 50_000, whole=False)),
        "25 million pixels": lambda: png(5_000, 5_001, black(5_000, 5_001, whole=False)),
        "colour profile of 64 MB": lambda: png(1, 1, chunk(b"iCCP", b"x\0\0" + packed(64)), black(1, 1)),
        "zTXt of 64 MB": lambda: png(1, 1, chunk(b"zTXt", b"x\0\0" + packed(64)), black(1, 1)),
        "iTXt of 64 MB": lambda: png(1, 1, chunk(b"iTXt", b"x\0\1\0\0\0" + packed(64)), black(1, 1)),
        "a PNG of no width": lambda: png(0, 4, black(4, 4)),
        "half a PNG": lambda: png(64, 64, black(64, 64, whole=False))[:-20],
        "half a JPEG": lambda: noise(256)[:5000],
        "a WebP of nothing": lambda: b"RIFF\x10\0\0\0WEBPVP8L" + b"\0" * 12,
        "a GIF of nothing": lambda: b"GIF89a\xff\xff\xff\xff\0\0\0",
        "PDF": lambda: b"%PDF-1.7\n%%EOF",
        "SVG": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "TIFF": lambda: saved(Image.new("RGB", (4, 4)), "TIFF"),
        "one byte": lambda: b"\0",
        "14 MB at random": lambda: b"\xff\xd8\xff\xe0" + os.urandom(14_000_000),
    }


def harmless() -> dict[str, Callable[[], bytes]]:
    """Images that carry more than is seen, and are taken without that."""
    return {
        "JPEG and a page": lambda: drawn("JPEG") + b"<script>alert(1)</script>" + CANARY,
        "comment": lambda: drawn("JPEG", comment=CANARY),
        "where it was taken": lambda: drawn("JPEG", exif=_exif(1)),
        "text": lambda: png(4, 4, chunk(b"tEXt", b"Author\0" + CANARY), black(4, 4)),
        "5,000 frames of PNG": lambda: apng(5_000),
        "5,000 frames of GIF": lambda: gif(5_000),
        "60 frames of WebP": lambda: animated_webp(60),
        "black, 23 million pixels": lambda: png(4_800, 4_800, black(4_800, 4_800)),
        "a line": lambda: drawn("PNG", (20_000, 1)),
        "16 bits": lambda: saved(Image.new("I;16", (64, 64), 32768), "PNG"),
    }


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = CANARY.decode()
    return exif


def lying(orientation: int) -> bytes:
    """Draw a JPEG that says how its camera was held."""
    return drawn("JPEG", exif=_exif(orientation), quality=95)
