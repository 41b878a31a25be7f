"""Whether a submission may have put its job into the queue, by what each try hears of a stream whose answers are written here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from common import codec, durable_submit
from common.bus.streams import Kept, Stored
from common.durable import Names, Note, Stage, encode_note
from common.durable_submit import Submission
from common.errors import BusTimeout, DuplicateJob, FleetError, PayloadTooLarge, QueueFull, StreamsUnavailable
from common.fingerprint import fingerprint
from common.handover import Handover
from common.messages import ChatRequest
from common.subjects import Subjects

SUBJECTS = Subjects()
ASKED = ChatRequest(prompt="hi", model="auto", job="j-1")
OTHER = ChatRequest(prompt="another", model="auto", job="j-1")

NEW, THERE = Stored(7), Stored(7, duplicate=True)
LOST, AWAY, FULL = BusTimeout("no acknowledgement"), StreamsUnavailable("starting"), QueueFull("full")
CUT = asyncio.CancelledError()


class ScriptedStreams:
    """What each `publish` meets, in order; what lies in the queue, and what was told of the job."""

    def __init__(
        self, met: Sequence[Stored | BaseException], *, lies: ChatRequest = ASKED, told: Note | FleetError | None = None
    ) -> None:
        self._met = list(met)
        self._lies = lies
        self._told = told

    async def publish(
        self, subject: str, data: bytes, *, msg_id: str = "", headers: Mapping[str, str] | None = None
    ) -> Stored:
        del subject, data, msg_id, headers
        met = self._met.pop(0)
        if isinstance(met, BaseException):
            raise met
        return met

    async def next(self, stream: str, subject: str, from_seq: int) -> Kept | None:
        del stream
        data = codec.encode(codec.plain(self._lies))
        return Kept(subject=subject, data=data, seq=from_seq, stored_unix_s=1.0)

    async def last(self, stream: str, subject: str) -> Kept | None:
        del stream
        if isinstance(self._told, FleetError):
            raise self._told
        if self._told is None:
            return None
        return Kept(subject=subject, data=encode_note(self._told), seq=1, stored_unix_s=1.0)


def told_of(request: ChatRequest) -> Note:
    return Note(job="j-1", tenant="acme", state=Stage.RUNNING, at_unix_s=1.0, fingerprint=fingerprint(request))


@pytest.mark.parametrize(
    ("met", "more", "begun", "came_of_it"),
    [
        ([NEW], {}, True, False),
        ([AWAY], {}, False, StreamsUnavailable),
        ([FULL], {}, False, QueueFull),
        ([PayloadTooLarge("large")], {}, False, PayloadTooLarge),
        ([LOST, AWAY], {}, True, StreamsUnavailable),
        ([LOST, FULL], {}, True, QueueFull),
        ([LOST, NEW], {}, True, False),
        ([LOST, THERE], {}, True, True),
        ([CUT], {}, True, asyncio.CancelledError),
        ([THERE], {}, False, True),
        ([THERE], {"lies": OTHER}, False, DuplicateJob),
        ([LOST, THERE], {"lies": OTHER}, True, DuplicateJob),
        ([NEW], {"told": told_of(ASKED)}, False, True),
        ([NEW], {"told": told_of(OTHER)}, False, DuplicateJob),
        ([NEW], {"told": AWAY}, True, StreamsUnavailable),
        ([AWAY], {"told": AWAY}, False, StreamsUnavailable),
    ],
)
async def test_what_a_try_may_have_begun_no_later_one_takes_back(
    met: Sequence[Stored | BaseException],
    more: Mapping[str, Any],
    begun: bool,
    came_of_it: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A try whose acknowledgement was lost may lie in the queue, whatever the next one hears: it was there before, say, or the
    queue is full. What came of it is whether the queue had it, or the error."""
    monkeypatch.setattr(durable_submit, "PAUSE_S", 0.0)
    streams: Any = ScriptedStreams(met, **more)
    handover = Handover()
    submission = Submission(streams, Names.below(SUBJECTS), SUBJECTS)
    try:
        found: object = (await submission.submit(ASKED, owner="acme", priority=None, handover=handover)).known
    except (FleetError, asyncio.CancelledError) as error:
        found = type(error)

    assert (begun, came_of_it) == (handover.begun, found)
