"""Where all files of a chat pass, whatever API they came by: images are checked and shrunk to what the bus carries, and PDFs become
text, or images; it opens none of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from common import codec
from common.conversations import GivenFile
from common.errors import PayloadTooLarge, UnreadableFile
from common.logs import get_logger
from common.messages import ChatRequest
from dispatcher.bridge.files.filed import Filed
from dispatcher.bridge.files.sandbox import Json, Limits, Sandbox, Work

log = get_logger("files")

MOST_IMAGES = 32
"""Of one request, earlier turns included; each of so many still gets 30 kB of a bus that carries a megabyte."""

MOST_PAGES = 50
MOST_CHARACTERS = 200_000
"""About 50,000 tokens: more than the models of small devices can hold."""

MARGIN_BYTES = 64 * 1024
"""Kept free on the bus for what is written around a request on its way, and for the text that a lost answer goes on behind."""

LEAST_ROOM_BYTES = 16 * 1024
"""The smallest image that is one takes a part of it."""

PICTURES = Limits(memory_bytes=512 << 20, cpu_s=15, wall_s=30.0)
DOCUMENTS = Limits(memory_bytes=512 << 20, cpu_s=20, wall_s=40.0)
"""An image of 24 million pixels takes about half a second of a PC's time, and the most that it needs is four copies of it."""

_PDF_WITHIN = 1024
"""Readers look for the mark so far behind the beginning."""

_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF")

_JPEG = b"/9j/"  # the first bytes of every JPEG, as base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A file that came with a question, as its bytes; what it is called is shown to the model, and believed by nobody."""

    name: str
    data: bytes

    @property
    def is_pdf(self) -> bool:
        """Tell whether it claims to be a PDF: by its bytes, or by its name where they are of no image. All else is looked at as an
        image."""
        named = self.name.lower().endswith(".pdf") and not self.data.startswith(_IMAGES)
        return named or b"%PDF-" in self.data[:_PDF_WITHIN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a PDF gave: `text` of the first `read` of `pages` pages, or `images` of them as base64 where there is next to none;
    `left_out` says in words what is missing."""

    text: str
    images: tuple[str, ...]
    pages: int
    read: int
    characters: int
    left_out: tuple[str, ...]


class Desk:
    """Looks at files in `sandbox`; `room` tells how many bytes the bus carries in a message."""

    def __init__(self, sandbox: Sandbox, room: Callable[[], int]) -> None:
        self._sandbox = sandbox
        self._room = room

    async def prepared(
        self, chat: ChatRequest, attached: Sequence[Attached] = (), *, whose: str | None = None
    ) -> ChatRequest:
        """Give the chat as it may travel; `whose` it is has a part of the places. What has no files comes back as it is. Raises
        `UnreadableFile`, `PayloadTooLarge` and `QueueFull`."""
        if attached:
            return (await self.filed(chat, attached, whose=whose)).chat
        if not any(message.images for message in chat.messages):
            return chat
        return await self._with_images(chat, whose)

    async def filed(self, chat: ChatRequest, attached: Sequence[Attached], *, whose: str | None = None) -> Filed:
        """Give the chat as `prepared` does, and what of it the user gave. Raises as that does."""
        filed = Filed(chat=chat)
        for file in attached:
            if not file.is_pdf:
                filed = filed.with_image(base64.b64encode(file.data).decode())
        for file in attached:
            if file.is_pdf:
                filed = await self._with_pdf(filed, file, whose)
        return replace(filed, chat=await self.prepared(filed.chat, whose=whose))

    async def images(self, images: Sequence[str | bytes], room_bytes: int, whose: str | None = None) -> tuple[str, ...]:
        """Check images, as base64, and give them as they fit into `room_bytes` together. Raises as `prepared` does."""
        if len(images) > MOST_IMAGES:
            raise UnreadableFile(
                f"the request has {len(images)} images, those of earlier turns included: {MOST_IMAGES} are taken, leave out the "
                "oldest",
                param="images",
            )
        parts = [one.encode(errors="replace") if isinstance(one, str) else one for one in images]
        told, written = await self._look(
            "the request's images", Work(task="images", head=_room(room_bytes), parts=parts), PICTURES, whose
        )
        if len(written) != len(images):
            raise UnreadableFile("the images break their reader: save them again, as PNG or JPEG", param="images")
        given_bytes, sent_bytes = sum(map(len, parts)), sum(map(len, written))
        log.info(
            "files.images", images=len(images), given_bytes=given_bytes, sent_bytes=sent_bytes, sizes=told.get("images")
        )
        return _base64(written)

    async def pdf(self, data: bytes, room_bytes: int, name: str = "the PDF", whose: str | None = None) -> Document:
        """Read a PDF, into `room_bytes` at most. Raises as `prepared` does."""
        head = {**_room(room_bytes), "most_pages": MOST_PAGES, "most_characters": MOST_CHARACTERS}
        told, written = await self._look(name, Work(task="pdf", head=head, parts=[data]), DOCUMENTS, whose)
        pages, read = int(told["pages"]), int(told["read"])
        log.info("files.pdf", pages=pages, read=read, characters=told["characters"], images=len(written))
        return Document(
            text=str(told["text"]),
            images=_base64(written),
            pages=pages,
            read=read,
            characters=int(told["characters"]),
            left_out=tuple(_missing(told, len(written))),
        )

    async def _look(self, name: str, work: Work, limits: Limits, whose: str | None) -> tuple[Json, list[bytes]]:
        try:
            return await self._sandbox.run(work, limits, whose)
        except UnreadableFile as error:
            of_one = error.message.startswith("image ")  # it is named by its number
            told = error.message if of_one else f"{name}: {error.message}"
            raise UnreadableFile(told, param="images" if work.task == "images" else "file") from error

    async def _with_images(self, chat: ChatRequest, whose: str | None) -> ChatRequest:
        found = [image for message in chat.messages for image in message.images]
        checked = iter(await self.images(found, self._left(chat), whose))
        messages = tuple(
            replace(message, images=tuple(next(checked) for _ in message.images)) if message.images else message
            for message in chat.messages
        )
        return replace(chat, messages=messages)

    async def _with_pdf(self, filed: Filed, file: Attached, whose: str | None) -> Filed:
        document = await self.pdf(file.data, self._left(filed.chat), file.name, whose)
        notes = "".join(f"[{note}]\n" for note in document.left_out)
        text = f"The file {file.name!r} has {document.pages} page(s):\n{notes}\n{document.text}"
        told = GivenFile(name=file.name, pages=document.pages, read=document.read)
        return filed.with_document(text, document.images, told)

    def _left(self, chat: ChatRequest) -> int:
        """Give the bytes that the bus has left beside what a chat says without images. Raises `PayloadTooLarge`."""
        bare = replace(chat, messages=tuple(replace(message, images=()) for message in chat.messages))
        said = len(codec.encode_request(codec.plain(bare)))
        left = self._room() - MARGIN_BYTES - said
        if left < LEAST_ROOM_BYTES:
            raise PayloadTooLarge(
                f"the text has {said} bytes, and the bus carries {self._room()} with its files: shorten the conversation, or raise "
                "max_payload of the NATS server",
                param="messages",
            )
        return left


def _room(room_bytes: int) -> Json:
    return {"room_bytes": room_bytes}


def _base64(written: Sequence[bytes]) -> tuple[str, ...]:
    """Read what the process wrote, which is not believed either: what is no JPEG is nothing."""
    for one in written:
        if not one.startswith(_JPEG) or not one.isascii():
            raise UnreadableFile("the file breaks its reader: send it in another format")
    return tuple(one.decode() for one in written)


def _missing(told: Json, images: int) -> Iterator[str]:
    pages, read = int(told["pages"]), int(told["read"])
    if images:
        yield f"there is next to no text: the images of {images} page(s) are shown"
    elif read < pages or told["cut"]:
        yield f"only the first {read} of {pages} pages were read, {told['characters']} characters"
    if told["unread"]:
        yield f"{told['unread']} page(s) are broken, and left out"
