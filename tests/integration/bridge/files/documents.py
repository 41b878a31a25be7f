"""PDFs as people send them, and as those who mean harm do: written by hand, and kept nowhere."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

from pypdf import PdfReader, PdfWriter

from tests.integration.bridge.files.pictures import noise, packed

CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<<%b>>>>"


def pdf(objects: Mapping[int, bytes]) -> bytes:
    """Write a PDF of these objects, the first of which is its root."""
    out, places = bytearray(b"%PDF-1.5\n"), {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table, size = len(out), max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    out += b"".join(
        b"%010d 00000 n \n" % places[one] if one in places else b"0000000000 65535 f \n" for one in range(1, size)
    )
    return bytes(out + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, table))


def stream(data: bytes, says: bytes = b"") -> bytes:
    """Write an object that has data."""
    return b"<</Length %d%b>>\nstream\n%b\nendstream" % (len(data), says, data)


def tree(kids: Sequence[int]) -> bytes:
    """Write the root of the pages."""
    return b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))


def written(*pages: str) -> bytes:
    """Write a PDF whose pages have text, packed as it usually is."""
    objects = {1: CATALOG, 2: tree(range(4, 4 + 2 * len(pages), 2)), 3: FONT}
    for number, text in enumerate(pages):
        shown = zlib.compress(b"BT /F1 12 Tf 72 700 Td (%b) Tj ET" % text.encode())
        objects[4 + 2 * number] = PAGE % (5 + 2 * number, b"/Font<</F1 3 0 R>>")
        objects[5 + 2 * number] = stream(shown, b"/Filter/FlateDecode")
    return pdf(objects)


def one_page(content: bytes, resources: bytes = b"/Font<</F1 3 0 R>>", **more: bytes) -> bytes:
    """Write a PDF of one page; `more` are objects from `o6` on."""
    objects = {1: CATALOG, 2: tree([4]), 3: FONT, 4: PAGE % (5, resources), 5: content}
    return pdf(objects | {int(name[1:]): body for name, body in more.items()})


def scanned(pages: int) -> bytes:
    """Write a PDF whose pages are photographs of a page."""
    image = stream(
        noise(300),
        b"/Type/XObject/Subtype/Image/Width 300/Height 300/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter/DCTDecode",
    )
    objects = {1: CATALOG, 2: tree(range(10, 10 + pages)), 3: image, 4: stream(b"q 612 0 0 792 0 0 cm /Im0 Do Q")}
    return pdf(objects | {10 + number: PAGE % (4, b"/XObject<</Im0 3 0 R>>") for number in range(pages)})


def locked(password: str) -> bytes:
    """Write a PDF that needs a password."""
    writer = PdfWriter(clone_from=PdfReader(BytesIO(written("secret"))))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def with_a_program() -> bytes:
    """Write a PDF that has text, a script that runs when it is opened, and a program inside."""
    script = b"<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>>>"
    writer = PdfWriter(clone_from=PdfReader(BytesIO(written("hello").replace(CATALOG, script))))
    writer.add_attachment("evil.exe", b"MZ" * 1000)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def with_pages_in(kind: bytes) -> bytes:
    """Write a PDF whose pages stand in a stream of objects, which says that it is one of `kind`; there are no pages."""
    objects = {1: CATALOG, 3: stream(b"2 0 " + tree([]), b"/Type%b/N 1/First 4" % kind)}
    out, rows = bytearray(b"%PDF-1.5\n"), {0: bytes(4), 2: b"\2\0\3\0"}
    for number, body in objects.items():
        rows[number] = b"\1%b\0" % len(out).to_bytes(2, "big")
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = len(out)
    rows[4] = b"\1%b\0" % table.to_bytes(2, "big")
    index = stream(b"".join(rows[number] for number in range(5)), b"/Type/XRef/Size 5/W[1 2 1]/Root 1 0 R")
    return bytes(out + b"4 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (index, table))


def bombs() -> dict[str, Callable[[], bytes]]:
    """PDFs that are to be refused."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 1 1]/Resources<</Font<</F1 3 0 R>>/XObject<</F0 %d 0 R>>>>"
    calls = stream(b"/F0 Do " * 20)
    return {
        "128 MB in 1 MB": lambda: one_page(stream(packed(128), b"/Filter/FlateDecode")),
        "128 MB in 1 kB": lambda: one_page(stream(zlib.compress(packed(128)), b"/Filter[/FlateDecode/FlateDecode]")),
        "17 filters": lambda: one_page(stream(packed(128), b"/Filter[" + b"/FlateDecode" * 17 + b"]")),
        "600,000 operators": lambda: one_page(
            stream(zlib.compress(b"BT " + b"(x) Tj " * 600_000), b"/Filter/FlateDecode")
        ),
        "forms in forms": lambda: one_page(
            calls,
            b"/Font<</F1 3 0 R>>/XObject<</F0 6 0 R>>",
            **{f"o{n}": stream(b"/F0 Do " * 20, form % (n + 1 if n < 15 else 6)) for n in range(6, 16)},
        ),
        "pages in a circle": lambda: pdf(
            {1: CATALOG, 2: tree([3]), 3: b"<</Type/Pages/Parent 2 0 R/Count 1/Kids[2 0 R]>>"}
        ),
        "an object that is itself": lambda: pdf({1: CATALOG, 2: b"2 0 R"}),
        "one page 100,000 times": lambda: pdf({1: CATALOG, 2: tree([4] * 100_000), 4: PAGE % (5, b""), 5: stream(b"")}),
        "objects in what says that it is a font": lambda: with_pages_in(b"/Font"),
        "100,000 brackets": lambda: pdf({1: CATALOG, 2: b"[" * 100_000}),
        "an image of 900 million pixels": lambda: one_page(
            stream(b"q /Im0 Do Q"),
            b"/XObject<</Im0 6 0 R>>",
            o6=stream(
                packed(128),
                b"/Subtype/Image/Width 30000/Height 30000/ColorSpace/DeviceGray/BitsPerComponent 8/Filter/FlateDecode",
            ),
        ),
        "password": lambda: locked("open sesame"),
        "garbage": lambda: b"%PDF-1.7\n" + os.urandom(200_000),
        "a head": lambda: b"%PDF-",
        "an empty page": lambda: one_page(stream(b"")),
    }
