"""What anybody may publish who is let onto the bus: garbage, forged headers, the ids of others. None of it stops a dispatcher."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgpack  # type: ignore[import-untyped]  # it ships no annotations
import pytest

from common import codec
from common.bus.jetstream import JetStream
from common.bus.streams import ConsumerSpec, Kept, Puller, StreamState
from common.clock import LoopClock
from common.dead_letters import DeadLetters
from common.durable import Stage
from common.durable_client import DurableJobs
from common.errors import BackendError, BusDisconnected, FleetError, PayloadTooLarge
from dispatcher.durable.claims import Claims
from dispatcher.durable.janitor import Janitor
from dispatcher.durable.letters import Letters
from dispatcher.durable.notes import Notes
from dispatcher.durable.reading import Origin, Reading
from tests.integration.dispatcher.scripted import answer, fail, ignore
from tests.integration.durable.world import World, dispatching, eventually, world

ANSWER = answer("all ", "of it")


@pytest.mark.parametrize("order", [b'{"tenant":[]}', b'{"tenant":{},"seq":[]}', b'{"seq":-1}', b"[]", b"\xff"])
async def test_an_order_to_cancel_that_makes_no_sense(order: bytes) -> None:
    """It says nothing of whose job is meant: the job is cancelled, and the dispatcher goes on with the next one."""
    async with world() as here:
        device = await here.device("nano", ignore, ANSWER, slots=2)
        async with dispatching(here):
            job = await here.submit()
            await device.attempt()
            reply = await here.bus.request(here.subjects.control(job, "cancel"), order, timeout_s=10.0)
            states = [(await here.over(job)).state, (await here.over(await here.submit("next"))).state]

    assert (True, [Stage.CANCELLED, Stage.DONE]) == (codec.decode(reply.data)["cancelled"], states)


@pytest.mark.parametrize(("status", "data"), [("404", b"x"), ("500", b"x"), ("503", b"")])
async def test_a_job_with_a_status_of_its_own_blinds_nobody(status: str, data: bytes) -> None:
    """What lies behind it is found, the sweep goes on, and both have their end."""
    async with world() as here:
        async with dispatching(here):
            pass
        await here.streams.publish("llm.v1.jobs.default.normal", data, headers={"Status": status, "Nx-Job": "bad"})
        job = await here.submit()
        for number in range(40):  # so many that a search does not begin at each of them
            await here.submit(f"{number}")
        other = DurableJobs(here.bus, here.streams, tenant="default", subjects=here.subjects)
        queued = (await other.look(job)).state
        await here.device("nano", ANSWER)
        async with dispatching(here):
            states = [(await here.over(job)).state]
            await here.empty()
            states.append((await here.over("bad")).state)

    assert (Stage.QUEUED, [Stage.DONE, Stage.FAILED]) == (queued, states)


@pytest.mark.parametrize("gone", [False, True], ids=["theirs-is-queued", "theirs-is-over"])
async def test_an_id_that_another_tenant_has_used_up(gone: bool) -> None:
    """The job is stored all the same, and once; it is neither taken for the other one nor lost."""
    async with world() as here:
        device = await here.device("nano", ANSWER, slots=4)
        async with dispatching(here):
            pass
        for of in ("default.mine", "default.other"):
            await here.streams.publish(
                "llm.v1.jobs.evil.normal", b'{"prompt":"hi"}', headers={"Nx-Job": of[8:]}, msg_id=of
            )
        if gone:
            async with dispatching(here):
                await here.empty()
        theirs = len(device.attempts)
        known = [(await here.submitted("hi", job="mine")).known for _ in range(2)]
        async with dispatching(here):
            notes = [await here.over("mine")]
            await here.empty()
            known.append((await here.submitted("hi", job="mine")).known)

    assert ([False, True, True], [("default", Stage.DONE)]) == (known, [(note.tenant, note.state) for note in notes])
    assert (2 if gone else 0) == theirs
    assert 3 == len(device.attempts)


class _CutStreams(JetStream):
    """The server is killed when a search has begun."""

    def __init__(self, here: World) -> None:
        super().__init__(here.bus)
        self._here = here

    async def state(self, stream: str) -> StreamState:
        found = await super().state(stream)
        await self._here.server.kill()
        return found


@pytest.mark.parametrize("verb", ["look", "result", "cancel"])
async def test_a_server_that_is_lost_during_a_search_is_one_typed_error(verb: str) -> None:
    """Whoever asks for a queued job then gets what any other call gives: `BusDisconnected`, and no group of errors."""
    async with world() as here:
        async with dispatching(here):
            pass
        for number in range(40):
            await here.submit(f"{number}")
        jobs = DurableJobs(here.bus, _CutStreams(here), tenant="default", subjects=here.subjects)
        with pytest.raises(BusDisconnected):
            await getattr(jobs, verb)("elsewhere")


LARGE = 600_000
"""More than half of what the server carries: in hex it is too large."""


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * LARGE,
        b'{"nonsense":"' + b"y" * (LARGE + 440_000) + b'"}',
        b'{"nonsense":"' + b"\x80" * 9 + b'"}',
        msgpack.packb({"nonsense": b"\xff"}),
        msgpack.packb({"nonsense": msgpack.Timestamp(1)}),
        msgpack.packb({"nonsense": ["\x00" * 200_000]}),
        b'{"nonsense":' + b"[" * 60 + b"]" * 60 + b"}",
        msgpack.packb({"nonsense": float("nan")}),
    ],
    ids=["bytes", "object", "no-text", "msgpack-bytes", "msgpack-time", "msgpack-zeros", "deep", "no-number"],
)
async def test_garbage_of_any_size_is_a_dead_letter_at_once(garbage: bytes) -> None:
    """One try, one final note, and one letter with as much of it as fits, and the number of the bytes that don't."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.streams.publish("llm.v1.jobs.evil.normal", garbage, headers={"Nx-Job": "bad"})
            await here.empty()
            note = await here.jobs.look("bad", tenant="evil")
            letter = await here.letter()

    assert (Stage.FAILED, "bad_request", 1) == (note.state, letter.reason, letter.tries)
    if letter.raw is not None:
        assert garbage == bytes.fromhex(letter.raw) + garbage[len(garbage) - letter.cut_bytes :]


async def test_a_letter_that_was_cut_is_not_sent_again() -> None:
    """What would run is not what was sent: the operator is told so, and the letter stays."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.streams.publish("llm.v1.jobs.evil.normal", b"x" * LARGE, headers={"Nx-Job": "bad"})
            await here.empty()
        with pytest.raises(PayloadTooLarge, match="not whole"):
            await DeadLetters(here.streams, here.subjects).retry("bad")
        letter = await here.letter()

    assert 0 < letter.cut_bytes < LARGE


async def test_a_long_error_and_a_long_job_have_their_letter() -> None:
    """A device that explains itself at length does not keep its job from being buried."""
    async with world() as here:
        await here.device("nano", fail(BackendError("y" * LARGE)))
        async with dispatching(here, tries=1):
            note = await here.over(await here.submit("x" * LARGE))
            await here.empty()
            letter = await here.letter()

    assert (Stage.FAILED, "exhausted") == (note.state, letter.reason)


class _Stubborn(Letters):
    """Can't bury one of the jobs, whatever the reason is."""

    async def bury(
        self, kept: Kept, origin: Origin, reason: str, error: FleetError, *, tries: int, notes: Notes
    ) -> None:
        if kept.data == b"first":
            raise PayloadTooLarge("it does not fit")
        await super().bury(kept, origin, reason, error, tries=tries, notes=notes)


@pytest.mark.parametrize("way", ["told", "swept"])
async def test_a_job_that_can_not_be_buried_is_passed_over(way: str) -> None:
    """What lies behind it is buried, whether the server told of it or the sweep finds it."""
    async with world() as here:
        async with dispatching(here, tries=1):
            pass
        subject = here.subjects.jobs("*", "normal")  # dispatchers let the server count no tries; here it does
        await here.streams.declare_consumer(
            ConsumerSpec(stream=here.names.jobs, name="normal", subject=subject, ack_wait_s=1.0, max_deliver=1)
        )
        for data in (b"first", b"second"):
            await here.streams.publish("llm.v1.jobs.evil.normal", data, headers={"Nx-Job": data.decode()})
        claims = Claims(here.streams.bucket(here.names.claims), "gone")
        for seq, job in enumerate(("first", "second"), 1):
            claim = await claims.take(f"evil.{job}", seq=seq)
            assert claim is not None
            claim.reached = True
            await claims.renew(claim)
        async with (
            here.streams.puller(here.names.jobs, "normal") as puller,
            here.streams.puller(here.names.advisories, "janitor") as told,
        ):
            for pulled in await puller.fetch(2, wait_s=10.0):
                await pulled.nak()
            await eventually(lambda: _advised(here, puller), 2, "the server tells of both")
            janitor = _janitor(here)
            work = janitor.sweep if way == "swept" else lambda: janitor.read(told, wait_s=0.1)
            await eventually(lambda: _left(here, work), [b"first"], "the second is buried")
        letters = [letter.job for letter in await here.letters()]

    assert ["second"] == letters


def _janitor(here: World) -> Janitor:
    clock = LoopClock()
    return Janitor(
        here.streams,
        here.names,
        here.subjects,
        reading=Reading(clock, here.subjects, 60.0),
        letters=_Stubborn(here.streams, here.names, here.subjects, clock),
        claims=Claims(here.streams.bucket(here.names.claims), "janitor"),
        most_tries=1,
        ack_wait_s=0.0,
    )


async def _advised(here: World, puller: Puller) -> int:
    """Somebody has to ask, or the server does not look whether the last delivery was handed back."""
    await puller.fetch(1, wait_s=0.1)
    return (await here.streams.state(here.names.advisories)).messages


async def _left(here: World, work: Callable[[], Awaitable[object]]) -> list[bytes]:
    await work()
    return [kept.data async for kept in here.kept(here.names.jobs, here.subjects.jobs("*", "*"))]
