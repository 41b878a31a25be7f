"""Whether a dispatcher may have a job, by what is heard of each time that it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from common import frames
from common.errors import BusDisconnected, BusTimeout, FleetError, Interrupted, NoDispatcher, QueueFull
from common.handover import Handover

ACK, TEXT, END, REPLAY = frames.Ack("j"), frames.Token(0, "hi"), frames.End(), frames.End(route={"replayed": True})
FULL = frames.Err(QueueFull("full"))
Heard = frames.Frame | BaseException | str


def sent(handover: Handover, *heard: Heard) -> None:
    """Send once, and hear this; `unsent` is a sending that never left."""
    with suppress(FleetError, asyncio.CancelledError), handover.sending() as one:
        one.published = "unsent" not in heard
        for what in heard:
            if isinstance(what, BaseException):
                raise what
            if not isinstance(what, str):
                one.hear(what)


@pytest.mark.parametrize(
    ("sendings", "begun"),
    [
        ([], False),
        ([["unsent", BusDisconnected("away")]], False),
        ([[NoDispatcher("nobody")]], False),
        ([[FULL]], False),
        ([[ACK, TEXT, REPLAY]], False),
        ([[]], True),
        ([[asyncio.CancelledError()]], True),
        ([["unsent", asyncio.CancelledError()]], True),
        ([[BusTimeout("silent")]], True),
        ([[BusDisconnected("lost")]], True),
        ([[ACK, FULL]], True),
        ([[ACK, TEXT, END]], True),
        ([[ACK, TEXT, asyncio.CancelledError()]], True),
        ([[NoDispatcher("nobody")], [NoDispatcher("nobody")]], False),
        ([[NoDispatcher("nobody")], [ACK, Interrupted("lost")], [NoDispatcher("nobody")]], True),
        ([[BusTimeout("silent")], [FULL]], True),
        ([[BusTimeout("silent")], [ACK, REPLAY]], True),
        ([["unsent", BusDisconnected("away")], [ACK, END]], True),
    ],
)
def test_only_what_is_proven_is_taken_back(sendings: Sequence[Sequence[Heard]], begun: bool) -> None:
    """And nothing that an earlier sending may have begun."""
    handover = Handover()
    for heard in sendings:
        sent(handover, *heard)

    assert begun is handover.begun
