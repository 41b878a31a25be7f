"""The events of a streamed answer, cut from the bytes as they come, and never more of them than an answer may have; pure.

What is kept of a stream that never ends a line, or never ends at all, is bounded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from common import codec
from common.errors import BadRequest, GarbledReply

MOST_EVENT_BYTES = 4 * 1024 * 1024
"""Some servers send an answer, or the arguments of a call, as one event; a million characters of either are no answer."""

MOST_ANSWER_BYTES = 64 * 1024 * 1024
"""An event is about 300 bytes for each token: the longest answers that are sold have 128,000 tokens, and so 40 MB."""

DONE = b"[DONE]"
FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How the lines of a stream of events begin."""


class Events:
    """Cuts one stream. Lines end by LF or CR LF; `data` lines are joined until an empty one, all others are left out."""

    def __init__(self, host: str) -> None:
        self.ended = False
        """True when the server has said that nothing more comes."""
        self.strange = False
        """True when there is text, and none of it looks like an event: a page, or a whole answer, where a stream was asked for."""
        self._known = False
        self._host = host
        self._line = bytearray()
        self._data: list[bytes] = []
        self._event_bytes = 0
        self._bytes = 0

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Give the objects that are whole by now. Raises `GarbledReply` for what is none, and for more than is ever sent."""
        self._bytes += len(chunk)
        if self._bytes > MOST_ANSWER_BYTES:
            raise GarbledReply(f"{self._host} sent more than {MOST_ANSWER_BYTES >> 20} MiB for one answer")
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._line += line
            whole = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            if whole.startswith(b"data:"):
                self._data.append(whole[5:].removeprefix(b" "))
                self._grow(len(whole))
            elif not whole and self._data:
                yield from self._event()
            self._known = self._known or whole.startswith(FIELDS)
        self._line += rest
        self._known = self._known or self._line.startswith(FIELDS)
        self.strange = not self._known and self._bytes > 0
        self._grow(0)

    def _grow(self, added: int) -> None:
        self._event_bytes += added
        if self._event_bytes + len(self._line) > MOST_EVENT_BYTES:
            raise GarbledReply(f"{self._host} sent an event of more than {MOST_EVENT_BYTES >> 20} MiB")

    def _event(self) -> Iterator[dict[str, Any]]:
        data = b"\n".join(self._data)
        self._data.clear()
        self._event_bytes = 0
        if data.startswith(DONE):
            self.ended = True
        if self.ended:
            return
        try:
            yield codec.decode(data)
        except BadRequest as error:
            raise GarbledReply(
                f"{self._host} sent an event that is no JSON object: is OPENAI_BASE_URL right?"
            ) from error
