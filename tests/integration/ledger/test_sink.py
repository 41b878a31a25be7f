"""From a dispatcher to the stream: nothing in a job's way, nothing lost that a server could take, and never a word of a prompt."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from ulid import ULID

from common import codec
from common.bus import Bus
from common.bus.jetstream import JetStream
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.memory_streams import MemoryStreams
from common.bus.streams import Kept
from common.clock import LoopClock
from common.durable import Names
from common.energy import Energy, lost
from common.errors import BadRequest, StreamsUnavailable
from common.messages import EngineTimings, Heartbeat, Priority, Usage
from common.records import DeviceEntry, JobEntry
from dispatcher.fleet import Fleet
from dispatcher.ledger.reading import read
from dispatcher.ledger.store import Read
from dispatcher.outcomes import Attempt, Cached, CacheOutcome, JobRecord, JobState, Terms
from dispatcher.record.entries import job_entry
from dispatcher.record.ledger import MOST_WAITING, LedgerSink
from dispatcher.roster import Roster
from tests.integration.ledger.builders import NOON, SUBJECTS

GUARD_S = 30.0
STREAM = Names.below(SUBJECTS).records


def record(**changes: object) -> JobRecord:
    """A record with something in each field."""
    attempts = (
        Attempt(number=1, device="nano", model="m", outcome=BadRequest.code, detail="SECRET was said"),
        Attempt(
            number=2, device="orin", model="m", outcome="silent", detail="no word", energy=lost(Energy(joules=1.0))
        ),
        Attempt(
            number=3,
            device="orin",
            model="m",
            outcome="ok",
            accept_s=0.1,
            first_token_s=0.2,
            total_s=0.3,
            beside=True,
            energy=Energy(joules=2.0, tokens=2),
        ),
    )
    full = JobRecord(
        record=str(ULID()), job="j", tenant="alice", kind="chat", state=JobState.DONE, received_unix_s=NOON, total_s=1.0,
        priority=Priority.BATCH, asked_model="auto", device="orin", model="m", reason="quickest", strategy="hybrid", score=0.5,
        terms=Terms(0.1, 0.2, 0.3), attempts=attempts, usage=Usage(prompt_tokens=1, completion_tokens=2),
        engine=EngineTimings(load_s=1.0), cost_usd=0.1,
        cost_estimated=True,
        energy=Energy(joules=3.0, lost_joules=1.0, tokens=2), saved_usd=0.2,
        saved_against="m@cloud", cloud_usd=0.3, finish="stop", queue_s=0.1, first_token_s=0.4,
        error="x", error_message="y", simulated=True, escalated=True, decision={"strategy": "hybrid"},
        cached=Cached(outcome=CacheOutcome.MISS, why="SECRET is not like what was asked", reason="none"),
    )  # fmt: skip
    return replace(full, **changes)  # type: ignore[arg-type]  # of its fields


@dataclass(frozen=True, slots=True)
class World:
    """A server with streams that a test may take away."""

    broker: MemoryBroker
    streams: MemoryStreams
    bus: Bus
    sink: LedgerSink

    async def kept(self) -> list[Kept]:
        """What the stream holds."""
        reader, found, at = JetStream(self.bus), list[Kept](), 1
        while (one := await reader.next(STREAM, f"{SUBJECTS.prefix}.rec.>", at)) is not None:
            found.append(one)
            at = one.seq + 1
        return found


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    broker = MemoryBroker()
    streams = MemoryStreams(broker)
    async with connect_memory(broker) as bus:
        yield World(broker, streams, bus, sink_on(bus))


def sink_on(bus: Bus, roster: Roster | None = None, **options: float) -> LedgerSink:
    fleet: Callable[[], Fleet] = (lambda: Fleet({})) if roster is None else (lambda: roster.fleet)
    return LedgerSink(bus, JetStream(bus), SUBJECTS, clock=LoopClock(), dispatcher="d1", fleet=fleet, **options)


@asynccontextmanager
async def keeping(sink: LedgerSink) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(sink.keep())
        yield
        task.cancel()


async def handed_over(sink: LedgerSink) -> None:
    async with asyncio.timeout(GUARD_S):
        while sink.waiting:  # noqa: ASYNC110  # its buffer has no event of its own
            await asyncio.sleep(0.01)


async def test_a_record_arrives_whole_and_without_a_word_of_the_prompt() -> None:
    """All that the record has, and what the ledger takes; what may quote a request stays behind."""
    async with world() as at, keeping(at.sink):
        full = record()
        await at.sink.write(full)
        await at.sink.flush(GUARD_S)
        [kept] = await at.kept()
    came = read(kept, SUBJECTS)

    assert isinstance(came, Read)
    assert came.entry == job_entry(full, "d1", lambda device: None)
    assert isinstance(came.entry, JobEntry)
    assert ("llm.v1.rec.job.alice", full.record) == (kept.subject, kept.headers["Nats-Msg-Id"])
    assert b"SECRET" not in kept.data
    assert [None, "no word", None] == [one.detail for one in came.entry.attempts]


def test_no_field_of_a_record_is_forgotten() -> None:
    """A field that is new in the record must be kept, or be named here."""
    ours = {name if name != "cached" else "cache" for name in JobRecord.__dataclass_fields__}

    assert ours - JobEntry.__dataclass_fields__.keys() == set()


async def test_what_a_device_went_through_arrives_with_its_site() -> None:
    """Joined, restarted, left: what the roster tells people; and a job's record has the site of its device."""
    roster = Roster()
    async with world() as at:
        sink = sink_on(at.bus, roster)
        roster.on_change(sink.note)
        async with keeping(sink):
            for boot in ("b1", "b2"):
                roster.observe(Heartbeat(device="orin", boot=boot, seq=1, site="lab", temperature_c=40.0), 0.0)
            await sink.write(record())
            await sink.flush(GUARD_S)
            entries = [came.entry for one in await at.kept() if isinstance(came := read(one, SUBJECTS), Read)]
    events = [one for one in entries if isinstance(one, DeviceEntry)]
    [job] = [one for one in entries if isinstance(one, JobEntry)]

    assert [("joined", "b1"), ("restarted", "b2")] == [(one.event, one.boot) for one in events]
    assert {("d1", "lab", 40.0)} == {(one.dispatcher, one.site, one.temperature_c) for one in events}
    assert ("lab", [None, "lab", "lab"]) == (job.site, [one.site for one in job.attempts])


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    """While nobody takes records, memory has a bound; a job never waits for it."""
    async with connect_memory(MemoryBroker()) as bus:
        sink = sink_on(bus)
        one = record(attempts=())
        for _ in range(MOST_WAITING + 5):
            await sink.write(one)

        assert (MOST_WAITING, 5) == (sink.waiting, sink.dropped)


async def test_a_device_that_restarts_all_day_pushes_no_job_out() -> None:
    """It is told of for a while, and then no more; jobs, and what another device goes through, have their room."""
    roster = Roster()
    async with world() as at:
        sink = sink_on(at.bus, roster)
        roster.on_change(sink.note)
        for seq in range(2 * MOST_WAITING):
            roster.observe(Heartbeat(device="mad", boot=f"b{seq}", seq=1), 0.0)
        roster.observe(Heartbeat(device="nano", boot="b1", seq=1), 0.0)
        await sink.write(record())
        async with keeping(sink):
            await sink.flush(GUARD_S)
            entries = [came.entry for one in await at.kept() if isinstance(came := read(one, SUBJECTS), Read)]
    told = Counter(one.device for one in entries if isinstance(one, DeviceEntry))

    assert {"mad": 20, "nano": 1} == told
    assert (1, 0, 2 * MOST_WAITING - 20) == (
        sum(isinstance(one, JobEntry) for one in entries),
        sink.dropped,
        sink.untold,
    )


async def test_a_server_without_streams_holds_up_no_stop() -> None:
    """Where nobody stores records, nobody waits for them at the end."""
    async with connect_memory(MemoryBroker()) as bus:
        sink = sink_on(bus)
        await sink.write(record())
        with pytest.raises(StreamsUnavailable):
            await JetStream(bus).publish(SUBJECTS.record("job", "x"), b"{}")
        async with keeping(sink):
            async with asyncio.timeout(GUARD_S):
                while not sink.away:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.01)
            await sink.flush(86_400.0)

        assert 1 == sink.waiting


async def test_what_was_not_acknowledged_is_sent_again_once() -> None:
    """After a server that was away, under the same id."""
    async with connect_memory(broker := MemoryBroker()) as bus, keeping(sink := sink_on(bus, unavailable_s=0.05)):
        await sink.write(record())
        async with asyncio.timeout(GUARD_S):
            while not sink.away:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        streams = MemoryStreams(broker)
        await handed_over(sink)
        kept = await World(broker, streams, bus, sink).kept()

    assert (1, 0) == (len(kept), sink.dropped)


async def test_a_record_that_is_too_large_goes_without_its_decision() -> None:
    """And one that can't be written at all holds up no other."""
    async with world() as at, keeping(at.sink):
        await at.sink.write(record(decision={"options": ["x" * 2_000_000]}))
        await at.sink.write(record(job="\ud800"))
        await at.sink.write(record(job="last"))
        await handed_over(at.sink)
        kept = await at.kept()
    jobs = [codec.decode(one.data) for one in kept]

    assert [("j", False), ("last", True)] == [(one["job"], "decision" in one) for one in jobs]
    assert 1 == at.sink.dropped
