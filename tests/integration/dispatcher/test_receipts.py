"""The energy receipt of an answer: what its devices told, added up over all attempts, in every place where it is told."""

from __future__ import annotations

import pytest

from common import codec, energy, frames
from common.codec import Encoding
from common.energy import Energy, lost
from common.errors import BackendError, JobCancelled
from common.frames import End, Err, KeepAlive, Phase
from common.messages import Usage
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.scripted import Attempt, Hold, Script, answer, until

SEEN = Energy(joules=12.0, idle_joules=3.0, measured=True, source="ina3221", uncertainty=0.02, tokens=2)
QUICK = 2.0
"""A clock that strikes for one device, and not by chance for the other: longer than a busy machine's pauses."""

HOT = {"temperature_c": 89.0}
"""What makes routing prefer the other device."""


def metered(taken: Energy) -> Script:
    """Answer in two tokens, and say what it took."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens("Hel", "lo")
        await attempt.end(energy=taken)

    return play


def broken(taken: Energy) -> Script:
    """Give up, and say what it took."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.fail(BackendError("out of memory", energy=energy.to_wire(taken)))

    return play


@pytest.mark.parametrize("encoding", Encoding)
async def test_the_final_frame_has_the_receipt(a_house: OpenHouse, encoding: Encoding) -> None:
    """Joules above idle, the idle part apart, the source and how far it can be trusted; per token of the answer."""
    async with a_house() as house:
        await house.device("nano", metered(SEEN))
        end = await (await house.stream(encoding=encoding)).end()

        assert end.energy == SEEN
        assert 6.0 == end.energy.joules_per_token


async def test_the_one_reply_has_the_receipt(a_house: OpenHouse) -> None:
    """Beside the usage."""
    async with a_house() as house:
        await house.device("nano", metered(SEEN))
        body = await (await house.ask()).reply()

        assert energy.to_wire(SEEN) == body["energy"]


async def test_what_failed_before_is_in_it(a_house: OpenHouse) -> None:
    """The first device took 5 J for nothing."""
    async with a_house() as house:
        await house.device("bad", broken(Energy(joules=5.0, measured=True, source="plug", uncertainty=0.1)))
        await house.device("good", metered(SEEN), **HOT)
        end = await (await house.stream()).end()

        assert end.energy is not None
        assert (17.0, 5.0, True, "ina3221+plug") == (
            end.energy.joules,
            end.energy.lost_joules,
            end.energy.measured,
            end.energy.source,
        )


async def test_what_fell_silent_is_estimated(a_house: OpenHouse) -> None:
    """A device that accepted and was heard no more took something: nobody measured it, and the receipt says so."""
    async with a_house() as house:
        hold = Hold()
        bad = await house.device("bad", hold, idle_w=3.0, busy_w=9.0)
        await house.device("good", metered(SEEN), **HOT)
        stream = await house.stream()
        await hold.reached.wait()
        await house.beat(bad, interval_s=0.1)  # the last one: it is lost half a second later
        end = await stream.end()

        assert end.energy is not None
        assert (False, "ina3221+prediction") == (end.energy.measured, end.energy.source)
        assert end.energy.lost_joules > 0.0


def recalled(taken: Energy, *texts: str) -> Script:
    """Accept, say so much, and once it is told to stop say what it took."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.send(KeepAlive(Phase.LOAD))
        await attempt.tokens(*texts)
        await attempt.cancelled.wait()
        await attempt.fail(JobCancelled("it was told to stop", energy=energy.to_wire(taken)))

    return play


async def test_a_cancelled_job_has_what_its_device_says_in_the_end(a_house: OpenHouse) -> None:
    """The device is heard out: its last word comes after the attempt was given up."""
    async with a_house() as house:
        device = await house.device("nano", recalled(SEEN, "Hel"))
        stream = await house.stream(job="j1")
        await until(lambda: stream.text == "Hel", "the text")
        await house.order("j1", "cancel")
        error = await stream.error()
        assert error.route is not None

        assert [1] == [attempt.dispatch.attempt for attempt in device.attempts]
        assert energy.to_wire(lost(SEEN)) == error.route["energy"] | {"tokens": 0}


async def test_one_that_was_outrun_tells_what_it_took(a_house: OpenHouse) -> None:
    """Its last word comes while the other one writes, and is no estimate any more."""
    async with a_house(load_s=QUICK) as house:
        slow = await house.device("slow", recalled(Energy(joules=4.0, measured=True, source="plug", uncertainty=0.1)))
        hold = Hold("Hel", then=go_on_metered)
        await house.device("quick", hold, **HOT)
        stream = await house.stream()
        await hold.reached.wait()
        await until(lambda: slow.attempts[0].over, "its last word")
        hold.released.set()
        end = await stream.end()

        assert end.energy is not None
        assert (16.0, 4.0, True) == (end.energy.joules, end.energy.lost_joules, end.energy.measured)


async def go_on_metered(attempt: Attempt) -> None:
    """Say the rest, and what it took."""
    await attempt.tokens("lo")
    await attempt.end(energy=SEEN)


async def test_a_device_that_tells_nothing_is_estimated(a_house: OpenHouse) -> None:
    """An agent of an older version: every answer has a receipt."""
    async with a_house() as house:
        await house.device("nano", answer("fine"))
        end = await (await house.stream()).end()

        assert end.energy is not None
        assert (False, "prediction", 1.0) == (end.energy.measured, end.energy.source, end.energy.uncertainty)


async def test_a_model_elsewhere_has_none(a_house: OpenHouse) -> None:
    """What a provider's machines draw nobody here knows."""
    async with a_house() as house:
        await house.device("cloud", answer("fine"), remote=True)
        end = await (await house.stream()).end()

        assert end.energy is None


async def test_a_failed_job_tells_what_it_took(a_house: OpenHouse) -> None:
    """In the account of its error; all of it for nothing."""
    async with a_house() as house:
        await house.device("bad", broken(Energy(joules=5.0, measured=True, source="plug", uncertainty=0.1)))
        error: Err = await (await house.stream()).error()
        assert error.route is not None

        assert (5.0, 5.0) == (error.route["energy"]["joules"], error.route["energy"]["lost_joules"])


async def test_whoever_watches_is_told(a_house: OpenHouse) -> None:
    """The event of the job has the same receipt."""
    async with a_house() as house:
        await house.device("nano", metered(SEEN))
        end = await (await house.stream()).end()
        assert end.route is not None

        assert energy.to_wire(SEEN) == (await house.event(end.route["job"]))["energy"]


async def test_a_broken_meter_spoils_nobody_s_answer(a_house: OpenHouse) -> None:
    """Two devices that failed say the most that can be said; the receipt of the third is readable, and within reason."""
    mad = Energy(joules=1e12, idle_joules=1e12, measured=True, source="plug", uncertainty=10.0)
    async with a_house() as house:
        await house.device("bad", broken(mad))
        await house.device("worse", broken(mad))
        await house.device("good", metered(SEEN), **HOT)
        end = await (await house.stream()).end()

        assert end.energy is not None
        assert 12.0 <= end.energy.joules < 1000.0


@pytest.mark.parametrize("garbage", ["much", {"joules": -1.0}, {"joules": 1e13}, [1], True])
async def test_energy_that_can_t_be_read_spoils_no_answer(a_house: OpenHouse, garbage: object) -> None:
    """The answer is good: its energy is estimated."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens("fine")
        wire = frames.to_wire(End(tokens=1, usage=Usage(prompt_tokens=7, completion_tokens=1)))
        await attempt.raw(codec.encode({**wire, "energy": garbage}))
        await attempt.close()

    async with a_house() as house:
        await house.device("nano", play)
        stream = await house.stream()
        end = await stream.end()

        assert end.energy is not None
        assert ("fine", "prediction") == (stream.text, end.energy.source)
