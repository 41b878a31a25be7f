"""Dead letters and their notes: whatever comes between the two, a job has one end. Over the twin of the server's streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from common.bus.jetstream import JetStream
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.memory_streams import MemoryStreams
from common.bus.streams import Kept, StreamState
from common.clock import LoopClock
from common.durable import Names, Note, Stage
from common.errors import BadRequest
from common.messages import Priority
from common.subjects import Subjects
from dispatcher.durable.declare import declare
from dispatcher.durable.letters import Letters
from dispatcher.durable.notes import Notes
from dispatcher.durable.reading import Origin
from dispatcher.settings import DurableSection

SUBJECTS, NAMES = Subjects(), Names()
PLACE = Origin("acme", Priority.NORMAL)


@dataclass
class Desk:
    """Where letters are written."""

    streams: JetStream
    letters: Letters
    notes: Notes
    kept: Kept

    async def bury(self) -> None:
        await self.letters.bury(self.kept, PLACE, "bad_request", BadRequest("no"), tries=1, notes=self.notes)

    async def written(self) -> StreamState:
        return await self.streams.state(NAMES.dead)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    broker = MemoryBroker()
    twin = MemoryStreams(broker)
    async with connect_memory(broker) as bus:
        streams = JetStream(bus)
        await declare(streams, NAMES, SUBJECTS, DurableSection())
        await streams.publish(SUBJECTS.jobs("acme", Priority.NORMAL), b'{"prompt":"hi","job":"q1"}')
        kept = await streams.next(NAMES.jobs, SUBJECTS.jobs("*", "*"), 1)
        assert kept is not None
        notes = Notes(streams, NAMES, SUBJECTS, "acme", "q1")
        yield Desk(streams, Letters(streams, NAMES, SUBJECTS, LoopClock()), notes, kept)
    twin.close()


async def test_no_letter_is_written_of_a_job_that_has_another_end(desk: Desk) -> None:
    """A cancel that was quicker stands, and the job is not among the dead, too."""
    other = Notes(desk.streams, NAMES, SUBJECTS, "acme", "q1")
    await other.finish(Note(job="q1", tenant="acme", state=Stage.CANCELLED, at_unix_s=1.0))
    await desk.bury()

    assert (await desk.written()).messages == 0


async def test_a_letter_that_was_not_written_follows(desk: Desk) -> None:
    """The note says that it failed, and whoever told so died: the next one writes the letter, once."""
    failed = Note(
        job="q1",
        tenant="acme",
        state=Stage.FAILED,
        at_unix_s=1.0,
        tries=2,
        reason="exhausted",
        error=BadRequest("no").to_wire(),
    )
    for _ in range(2):
        await desk.letters.again(desk.kept, PLACE, failed)
    letter = await desk.streams.last(NAMES.dead, SUBJECTS.dead("exhausted", "acme"))

    assert letter is not None
    assert (await desk.written()).messages == 1


async def test_burying_twice_writes_one_letter(desk: Desk) -> None:
    """It may be interrupted anywhere, and is then done again."""
    await desk.bury()
    await desk.bury()

    assert (await desk.written()).messages == 1
