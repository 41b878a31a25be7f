"""Events from parts that are JSON already: what many are told is encoded once; it knows none of the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from common import codec
from dispatcher.bridge import sse


def field(name: str, value: Any) -> bytes:
    """Write one field of an object."""
    return codec.encode({name: value})[1:-1]


def rows(name: str, encoded: Iterable[bytes]) -> bytes:
    """Write a field that is a list of objects."""
    return b'"%b":[%b]' % (name.encode(), b",".join(encoded))


def event(name: str, *fields: bytes) -> bytes:
    """Write an event of such fields; empty ones are left out."""
    return sse.event(b"{%b}" % b",".join(filter(None, fields)), name=name)


class Latest:
    """What is told whole whenever it is another than a stream was told last; what came between is not missed."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._last = b""

    def news(self) -> bytes:
        """Give what is to be sent now; nothing where it was sent already."""
        now = self._read()
        if now == self._last:
            return b""
        self._last = now
        return now


class Behind:
    """What is told of changes behind a version: a stream that was slow gets what is so now, and not what was so meanwhile."""

    def __init__(self, since: Callable[[int], bytes], version: Callable[[], int | None]) -> None:
        """Read by `since`; `version` gives None for as long as there is nothing to begin with."""
        self._since = since
        self._version = version
        self._told = -1

    def news(self) -> bytes:
        """Give what is to be sent now."""
        version = self._version()
        if version is None:
            return b""
        told, self._told = self._told, version
        return self._since(told)
