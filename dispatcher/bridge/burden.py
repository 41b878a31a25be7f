"""How many bytes of large bodies the bridge holds at once, from when they come until their files have been read; it knows no
route."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from common import codec
from common.errors import PayloadTooLarge, QueueFull
from common.messages import ChatRequest

RETRY_S = 5.0
"""Most files are read within a second, and a slow line sends a photograph in some."""


class Burdens:
    """What all requests hold together."""

    def __init__(self) -> None:
        self.bytes = 0

    @contextmanager
    def one(self) -> Iterator[Burden]:
        """Give the burden of one request, for as long as the context lasts, at most."""
        burden = Burden(self)
        token = _MINE.set(burden)
        try:
            yield burden
        finally:
            _MINE.reset(token)
            burden.drop()


class Burden:
    """What one request holds."""

    def __init__(self, together: Burdens) -> None:
        self._together = together
        self._bytes = 0
        self.plain_bytes: int | None = None
        """How many of them may be no file, once there are more than that."""

    def grow(self, size_bytes: int, most_bytes: int) -> None:
        """Hold so much in all. Raises `QueueFull` where all requests together would hold more than `most_bytes`; one alone is
        always let in."""
        others = self._together.bytes - self._bytes
        if others and others + size_bytes > most_bytes:
            raise QueueFull(
                f"the bridge holds {others} bytes of other requests with files, and takes {most_bytes} in all: send it again in a "
                "while, or raise DROVER_HTTP_MAX_HELD_BYTES",
                retry_after_s=RETRY_S,
            )
        self._together.bytes = others + size_bytes
        self._bytes = size_bytes

    def drop(self) -> None:
        """Hold nothing any more."""
        self._together.bytes -= self._bytes
        self._bytes = 0


_MINE: ContextVar[Burden | None] = ContextVar("burden", default=None)


def lighten() -> None:
    """Say that the files of the request that is being answered have been read: only what became of them is held from here on, so
    whoever had them lets them go now, and not when the answer ends."""
    mine = _MINE.get()
    if mine is not None:
        mine.drop()


def require_plain(chat: ChatRequest) -> None:
    """Refuse what the request that is being answered says without its files, where that is more than a body without any may have.
    Raises `PayloadTooLarge`."""
    mine = _MINE.get()
    if mine is None or mine.plain_bytes is None:
        return  # all of it is no larger than that
    bare = replace(chat, messages=tuple(replace(message, images=()) for message in chat.messages))
    said = len(codec.encode_request(codec.plain(bare)))
    if said > mine.plain_bytes:
        raise plain_too_large(said, mine.plain_bytes)


def plain_too_large(size_bytes: int, most_bytes: int) -> PayloadTooLarge:
    """Say that a body is too large, whatever files it has."""
    return PayloadTooLarge(
        f"the body has {size_bytes} bytes or more, and {most_bytes} are taken, files aside: shorten the conversation, "
        "or begin another one; whoever runs the bridge can take more (DROVER_HTTP_MAX_BODY_BYTES, with the bus's max_payload)"
    )
