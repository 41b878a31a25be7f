"""PDFs and other files beside a question: what becomes of them in processes of their own."""

from __future__ import annotations

import re

import pytest

from common.errors import PayloadTooLarge, UnreadableFile
from common.messages import ChatRequest, Message, Role
from dispatcher.bridge.files.desk import MOST_CHARACTERS, MOST_PAGES, Attached, Desk
from dispatcher.bridge.files.sandbox import Sandbox
from tests.integration.bridge.files import documents, pictures
from tests.integration.bridge.files.readers import said_of

BUS_BYTES = (1 << 20) - 4096
ASKED = ChatRequest(messages=(Message(role=Role.SYSTEM, content="Be brief."), Message(role=Role.USER, content="Why?")))


@pytest.fixture
def desk() -> Desk:
    return Desk(Sandbox(), lambda: BUS_BYTES)


async def last_message(desk: Desk, data: bytes, name: str = "report.pdf") -> Message:
    chat = await desk.prepared(ASKED, [Attached(name=name, data=data)])
    return chat.messages[-1]


async def test_the_text_of_a_pdf_stands_before_the_question(desk: Desk) -> None:
    """Both pages are there, in their order, under the name of the file, and no image."""
    message = await last_message(desk, documents.written("The first page says hello.", "The second says goodbye."))
    expected = "The file 'report.pdf' has 2 page(s):\n\nThe first page says hello.\n\nThe second says goodbye.\n\nWhy?"

    assert (message.content, message.images) == (expected, ())


async def test_a_scan_is_shown_as_images(desk: Desk) -> None:
    """Of six photographed pages the first four are shown to a model that can see, and the text says so."""
    message = await last_message(desk, documents.scanned(6))
    seen = [pictures.read(image).size for image in message.images]

    assert ("the images of 4 page(s) are shown" in message.content, seen) == (True, [(300, 300)] * 4)


async def test_a_long_pdf_is_read_up_to_its_fiftieth_page(desk: Desk) -> None:
    """A PDF of 2,000 pages gives fifty, and tells what was left out."""
    pdf = documents.written(*[f"This is page {number}." for number in range(1, 2_001)])
    found = await desk.pdf(pdf, 900_000)
    told = f"only the first 50 of 2000 pages were read, {9 * len('This is page 1.') + 41 * len('This is page 10.')} characters"

    assert (found.pages, found.read, found.text.splitlines()[-1], found.left_out) == (
        2_000,
        50,
        "This is page 50.",
        (told,),
    )


async def test_a_pdf_with_more_text_than_is_taken_is_cut(desk: Desk) -> None:
    """The characters of all pages are counted together, and the cut is told."""
    found = await desk.pdf(documents.written(*["word " * 24_000] * 3), 900_000)

    assert (found.characters, found.read, "only the first 2 of 3" in found.left_out[0]) == (MOST_CHARACTERS, 2, True)


async def test_scripts_and_programs_in_a_pdf_are_not_looked_at(desk: Desk) -> None:
    """What a PDF would run or carry is neither text nor image."""
    found = await desk.pdf(documents.with_a_program(), 900_000)

    assert (found.text, found.images) == ("hello", ())


async def test_an_image_that_is_attached_is_looked_at_like_any_other(desk: Desk) -> None:
    """A photograph beside a question goes the way of those inside it."""
    message = await last_message(desk, pictures.lying(6), "me.jpg")

    assert (message.content, [pictures.read(image).size for image in message.images]) == ("Why?", [(48, 64)])


async def test_a_file_that_is_neither_is_refused(desk: Desk) -> None:
    """A program is no image and no PDF, whatever it is called; it is refused as what it is called, and a PDF by its name."""
    with pytest.raises(UnreadableFile, match="image 1 is no image that is taken: send JPEG, PNG, WebP or GIF"):
        await last_message(desk, b"MZ" + bytes(1000), "report")
    with pytest.raises(UnreadableFile, match=r"report\.pdf: it can't be read .*: print it to a new PDF"):
        await last_message(desk, b"MZ" + bytes(1000), "report.pdf")


def test_a_pdf_that_is_no_pdf_or_means_harm_is_refused() -> None:
    """Each is refused within the limits of its process, which lives to say so, with what can be done."""
    head = {"room_bytes": 900_000, "most_pages": MOST_PAGES, "most_characters": MOST_CHARACTERS}
    said = said_of("documents", head, documents.bombs())
    odd = {name: told for name, told in said.items() if not re.match("it .*: (print|save|send)", told, re.DOTALL)}
    inner = {name: told for name, told in said.items() if "recursion" in told or "object at 0x" in told}
    large = {name for name, told in said.items() if told.startswith("it is larger inside than it may be")}

    assert (odd, inner) == ({}, {})
    assert {"128 MB in 1 MB", "128 MB in 1 kB"} <= large


async def test_a_pdf_that_is_refused_is_named(desk: Desk) -> None:
    """As it was called where it came from, since there may be others."""
    with pytest.raises(UnreadableFile, match=r"^report\.pdf: it .*: (print|save|send)"):
        await last_message(desk, b"%PDF-")


async def test_text_that_leaves_no_room_for_files_is_told(desk: Desk) -> None:
    """A question that fills the bus by itself can have no file beside it, and the message names both sizes."""
    full = ChatRequest(messages=(Message(role=Role.USER, content="x" * BUS_BYTES),))
    with pytest.raises(PayloadTooLarge, match=f"bytes, and the bus carries {BUS_BYTES} with its files"):
        await desk.prepared(full, [Attached(name="a.pdf", data=documents.written("hello"))])


async def test_a_chat_without_files_comes_back_as_it_is(desk: Desk) -> None:
    """It is the same value: nothing was made, and nothing started."""
    assert await desk.prepared(ASKED) is ASKED
