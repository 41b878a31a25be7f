"""How an API writes an answer, as whoever runs the job sees it; the APIs stand in the packages beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Protocol

from common import frames
from common.energy import Energy
from common.errors import FleetError
from dispatcher.bridge.headers import COST_HEADER, KEY_HEADER, STRATEGY_HEADER
from dispatcher.bridge.surfaces import Surface

Json = dict[str, Any]

BY_HEADER: Mapping[str, str] = {
    "device": "model",
    "strategy": STRATEGY_HEADER,
    "max_cost_usd": COST_HEADER,
    "provider_key": KEY_HEADER,
}
"""What the fleet calls what is said behind the model's `@`, and in headers, where an API's bodies have no field for it."""

IN_CHATS: Mapping[str, str] = {
    "device": "model",
    "provider_key": KEY_HEADER,
    "images": "messages",
    "prompt": "messages",
}
"""And what it calls the parts of a chat whose body has the other fields."""


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
    def called(self) -> Mapping[str, str]:
        """What the request's fields are called there, by the fleet's own names; those that are called the same are left out."""
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


def as_asked(error: FleetError, called: Mapping[str, str]) -> FleetError:
    """Give what a job failed with, the field at fault named as its sender knows it."""
    param = error.details.get("param")
    if not isinstance(param, str) or param not in called:
        return error
    told = copy(error)
    told.details = {**error.details, "param": called[param]}
    return told
