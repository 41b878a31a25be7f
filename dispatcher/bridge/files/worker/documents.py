"""The text of a PDF, or the images of its pages where it has none; only here is pypdf imported. Scripts, forms and embedded files
are not looked at."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image, PpmImagePlugin
from pypdf import PageObject, PdfReader, _text_extraction, filters, overwrite_configuration
from pypdf._codecs import core_font_metrics
from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError, PyPdfError
from pypdf.generic import StreamObject, _image_xobject

from dispatcher.bridge.files.bounds import MOST_PAGE_IMAGES, MOST_PIXELS
from dispatcher.bridge.files.worker import pictures
from dispatcher.bridge.files.worker.refusing import Refused, short

Json = dict[str, Any]

LEAST_SIDE = 64
"""A smaller one is a line or a bullet."""

MOST_LOOKED_AT, MOST_TRIED = 100, 3
"""Of the images of a page: a scan is one, and a magazine's page has some; the largest that can be read is shown."""

BETWEEN = "\n\n"  # two pages

LITTLE_TEXT = 100
"""Characters in all; a scan has page numbers at most."""

MOST_STREAM_BYTES = 40_000_000
"""Of one stream, unpacked: a page of A4 at 300 dpi in colour has 26 MB."""

BROKEN = (
    *(PyPdfError, DependencyError, NotImplementedError, AssertionError, RecursionError, ArithmeticError, zlib.error),
    *pictures.BROKEN,
)
"""What reading a broken PDF raises, or one that means harm. pypdf asserts what a file says of itself (a stream of objects that
calls itself something else), and follows brackets in brackets as deep as they go; nothing here asserts or recurses by itself."""

LOADED = (core_font_metrics, filters, _image_xobject, _text_extraction, PpmImagePlugin)
"""pypdf imports them when it meets what needs them: too late here."""

for _encoding in ("ascii", "charmap", "cp932", "cp950", "gb18030", "gb2312", "gbk", "utf-16", "utf-16-be", "utf-16-le"):
    codecs.lookup(_encoding)  # of fonts: Python imports them as they are met

_ODD = dict.fromkeys(set(range(32)) - {ord("\n"), ord("\t")})


@dataclass(slots=True)
class Found:
    """What was read so far. `unread` are pages that are broken, and `large` tells that one is larger inside than it may be."""

    texts: list[str] = field(default_factory=list)
    characters: int = 0
    unread: int = 0
    large: bool = False
    cut: bool = False


def task(head: Json, given: list[bytes]) -> tuple[Json, list[bytes]]:
    """Read one PDF: its text, and images where it has next to none. Raises `Refused`."""
    _tame()
    room_bytes, most_pages = int(head["room_bytes"]), int(head["most_pages"])
    reader, total = _opened(given[0])
    found = _texts(reader, min(total, most_pages), int(head["most_characters"]), room_bytes)
    text = BETWEEN.join(found.texts)
    images = _images(reader, min(total, most_pages)) if found.characters < LITTLE_TEXT else []
    if not images and not text and found.large:
        raise Refused("it is larger inside than it may be: send fewer pages, or their images")
    if not images and not text:
        broken = f", and {found.unread} of its pages are broken" if found.unread else ""
        raise Refused(
            f"it has neither text nor images that can be read{broken}: print it anew, or send its pages as images"
        )
    written, facts = pictures.fitted(images, room_bytes - len(text.encode()))
    told = {"pages": total, "read": len(found.texts), "unread": found.unread, "cut": found.cut}
    return {**told, "characters": found.characters, "text": text, "images": facts}, written


def _tame() -> None:
    """Lower the limits of the library to what an honest PDF of this size needs. No other program is called."""
    overwrite_configuration(
        maximum_declared_stream_length=MOST_STREAM_BYTES,
        array_based_stream_maximum_output_length=MOST_STREAM_BYTES,
        zlib_maximum_output_length=MOST_STREAM_BYTES,
        lzw_maximum_output_length=MOST_STREAM_BYTES,
        run_length_maximum_output_length=MOST_STREAM_BYTES,
        jbig2_maximum_output_length=MOST_STREAM_BYTES,
        brotli_maximum_output_length=MOST_STREAM_BYTES,
        stream_decoding_work_maximum_length=2 * MOST_STREAM_BYTES,
        stream_parsing_work_maximum_count=500_000,
        page_tree_maximum_entries=20_000,
        xform_maximum_invocations_per_extraction=500,
        jbig2dec_binary=None,
        disable_legacy_handling=True,
    )


def _opened(data: bytes) -> tuple[PdfReader, int]:
    try:
        reader = PdfReader(BytesIO(data), root_object_recovery_limit=1000, xref_stream_maximum_entries=200_000)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("it is encrypted: save a copy without a password, and send that")
        return reader, len(reader.pages)
    except (DependencyError, FileNotDecryptedError) as error:
        raise Refused("it is encrypted: save a copy without a password, and send that") from error
    except LimitReachedError as error:
        raise Refused(f"it is larger inside than it may be ({short(error)}): print it to a new PDF") from error
    except BROKEN as error:
        raise Refused(f"it can't be read ({short(error)}): print it to a new PDF, and send that") from error


def _texts(reader: PdfReader, pages: int, most_characters: int, room_bytes: int) -> Found:
    found = Found()
    room = room_bytes
    for number in range(pages):
        text = _text(reader, number, found)
        fits = text[: most_characters - found.characters].encode()[: max(0, room)].decode(errors="ignore")
        found.texts.append(fits)
        found.characters += len(fits)
        room -= len(fits.encode()) + len(BETWEEN)
        if len(fits) < len(text) or room <= 0:
            found.cut = True
            break
    found.texts = found.texts if found.characters else []
    return found


def _text(reader: PdfReader, number: int, found: Found) -> str:
    try:
        text = reader.pages[number].extract_text()
    except BROKEN as error:
        found.unread += 1
        found.large |= isinstance(error, LimitReachedError)
        return ""
    return text.translate(_ODD).encode(errors="replace").decode().strip()


def _images(reader: PdfReader, pages: int) -> list[Image.Image]:
    images: list[Image.Image] = []
    for number in range(pages):
        image = _largest(reader.pages[number])
        if image is not None:
            images.append(image)
        if len(images) == MOST_PAGE_IMAGES:
            break
    return images


def _largest(page: PageObject) -> Image.Image | None:
    """Give the largest image of a page that can be read."""
    try:
        sized = sorted(_sized(page), key=lambda one: one[0], reverse=True)
    except BROKEN:
        return None
    for _, stream in sized[:MOST_TRIED]:
        try:
            image = stream.decode_as_image()
            if isinstance(image, Image.Image):
                return pictures.upright(image, pictures.STEPS[0][0])
        except (*BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning):
            continue  # the next one may do
    return None


def _sized(page: PageObject) -> Iterator[tuple[int, StreamObject]]:
    """Give the images of a page with their pixels, those left out that are too large or too small."""
    named: Any = page["/Resources"]
    for entry in list(named["/XObject"].values())[:MOST_LOOKED_AT]:
        stream: Any = entry.get_object()
        if isinstance(stream, StreamObject) and stream.get("/Subtype") == "/Image":
            width, height = (_whole(stream, name) for name in ("/Width", "/Height"))
            if min(width, height) >= LEAST_SIDE and width * height <= MOST_PIXELS:
                yield width * height, stream


def _whole(stream: Any, name: str) -> int:
    return int(stream[name])
