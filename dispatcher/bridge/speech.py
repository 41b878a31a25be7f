"""How an API writes an answer, as whoever runs the job sees it; the APIs stand in the packages beside this module."""

from __future__ import annotations

from typing import Any, Protocol

from common import frames
from common.energy import Energy
from common.errors import FleetError
from dispatcher.bridge.surfaces import Surface

Json = dict[str, Any]


class Dialect(Protocol):
    """Writes one answer; made anew for each, so it may remember what it has written.

    The bytes are sent as they are: events or lines, whole ones, and none where an API has nothing to say. `model` is the one that
    answers, as far as it is known: a later call may name another one, until there is text.
    """

    @property
    def surface(self) -> Surface:
        """The API that this belongs to, which writes errors before an answer has begun."""
        ...

    @property
    def media_type(self) -> str:
        """What a stream of this dialect is called in its headers."""
        ...

    def begin(self, model: str) -> bytes:
        """Give what stands before the first text; asked once."""
        ...

    def text(self, model: str, text: str) -> bytes: ...

    def still(self, model: str, standing: Json) -> bytes:
        """Give a sign of life that says no word; `standing` tells where the job is."""
        ...

    def end(self, model: str, end: frames.End) -> bytes:
        """Give all that stands behind the last text."""
        ...

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:
        """Give the end of a stream that failed after it had begun; `taken` is what the job took."""
        ...

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        """Give the body of an answer that is no stream."""
        ...


class WholeOnly:
    """What a dialect has of a stream whose answers are never one. It writes no error either: no header has gone before the whole,
    so the surface does."""

    media_type = "application/json"

    def begin(self, model: str) -> bytes:  # noqa: ARG002  # here and below: it says nothing, whatever there is
        return b""

    def text(self, model: str, text: str) -> bytes:  # noqa: ARG002
        return b""

    def still(self, model: str, standing: Json) -> bytes:  # noqa: ARG002
        return b""

    def end(self, model: str, end: frames.End) -> bytes:  # noqa: ARG002
        return b""

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:  # noqa: ARG002
        return b""
