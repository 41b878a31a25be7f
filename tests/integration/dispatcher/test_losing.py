"""Devices that go away or come back: found by their heartbeats, and told to the operator."""

from __future__ import annotations

import pytest

from common.messages import DeviceState
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.scripted import Hold, answer, go_on, stall, until

HOT = {"temperature_c": 89.0}


async def test_a_silent_device_loses_its_jobs(a_house: OpenHouse) -> None:
    """When heartbeats stop, the device's jobs go to another one, long before any clock of the job strikes."""
    async with a_house() as house:
        bad = await house.device("bad", stall("Once "))
        await house.device("good", answer("upon"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        await house.beat(bad, interval_s=0.1)  # not before: who is suspect gets no job
        end = await stream.end()
        await until(lambda: ("lost", "bad") in house.device_events, "the loss is told")
        assert end.route is not None

        assert ("Once upon", ["device_lost", "ok"]) == (stream.text, [one["outcome"] for one in end.route["attempts"]])
        assert [("j", 1)] == [("j", attempt) for _, attempt in bad.cancels]


async def test_a_lost_device_is_told_step_by_step(a_house: OpenHouse) -> None:
    """Joined, suspect, lost, recovered: each once, in this order."""
    async with a_house() as house:
        # The roster looks every quarter of a second, and must look between 2.5 and 5 intervals: a busy machine may pause.
        nano = await house.device("nano", answer("ok"), interval_s=1.0)
        await until(lambda: ("lost", "nano") in house.device_events, "the loss is told")
        await house.beat(nano, interval_s=60.0)
        await until(lambda: len(house.device_events) == 4, "the recovery is told")

        assert ["joined", "suspect", "lost", "recovered"] == [state for state, _ in house.device_events]


async def test_a_suspect_device_gets_no_new_work(a_house: OpenHouse) -> None:
    """A device that missed some heartbeats keeps its jobs and gets no others, until it is heard again."""
    async with a_house() as house:
        nano = await house.device("nano", answer("ok"), interval_s=1.0)  # suspect for 2.5 s before it is lost
        await until(lambda: ("suspect", "nano") in house.device_events, "the suspicion is told")
        stream = await house.stream()
        await house.waiting(1)
        before = len(nano.attempts)
        await house.beat(nano, interval_s=60.0)
        await stream.end()

        assert (0, "ok") == (before, stream.text)


async def test_a_restart_loses_the_jobs_of_the_old_boot(a_house: OpenHouse) -> None:
    """A new boot id means that what the old one had accepted is gone: it goes to another device at once."""
    async with a_house() as house:
        bad = await house.device("bad", stall("Once "))
        await house.device("good", answer("upon"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        bad.boot = "boot-2"
        await house.beat(bad)
        end = await stream.end()
        await until(lambda: ("restarted", "bad") in house.device_events, "the restart is told")
        assert end.route is not None

        assert ("Once upon", "device_lost", True) == (
            stream.text,
            end.route["attempts"][0]["outcome"],
            "was restarted" in end.route["attempts"][0]["detail"],
        )


async def test_a_restart_keeps_the_jobs_of_the_new_boot(a_house: OpenHouse) -> None:
    """A job that the new boot has accepted already, before its first heartbeat, is not taken from it."""
    async with a_house() as house:
        hold = Hold("Once ", then=go_on("upon"))
        nano = await house.device("nano", hold)
        other = await house.device("other", answer("never"), **HOT)
        nano.boot = "boot-2"
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the new boot speaks")
        await house.beat(nano)
        await until(lambda: ("restarted", "nano") in house.device_events, "the restart is told")
        hold.released.set()
        await stream.end()

        assert ("Once upon", 0) == (stream.text, len(other.attempts))


async def test_a_device_that_signs_off_hands_its_jobs_on(a_house: OpenHouse) -> None:
    """A good-bye is believed at once."""
    async with a_house() as house:
        bad = await house.device("bad", stall("Once "))
        await house.device("good", answer("upon"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the text is visible")
        await house.beat(bad, state=DeviceState.STOPPED)
        await stream.end()

        assert "Once upon" == stream.text


async def test_a_draining_device_finishes_what_it_has(a_house: OpenHouse) -> None:
    """A device that drains keeps its job, and gets no other."""
    async with a_house() as house:
        hold = Hold("Once ", then=go_on("upon"))
        nano = await house.device("nano", hold, slots=2)
        other = await house.device("other", answer("elsewhere"), **HOT)
        stream = await house.stream()
        await hold.reached.wait()
        await house.beat(nano, state=DeviceState.DRAINING)
        second = await house.stream()
        await second.end()
        hold.released.set()
        await stream.end()

        assert ("Once upon", "elsewhere", 1, 1) == (stream.text, second.text, len(nano.attempts), len(other.attempts))


@pytest.mark.parametrize("seq", [1, 0])
async def test_a_stale_heartbeat_is_no_news(a_house: OpenHouse, seq: int) -> None:
    """A heartbeat that arrives late, or twice, does not take a device's job."""
    async with a_house() as house:
        hold = Hold(then=go_on("ok"))
        nano = await house.device("nano", hold)
        await house.beat(nano)
        stream = await house.stream()
        await hold.reached.wait()
        nano.beats = seq - 1
        await nano.beat(state=DeviceState.STOPPED)
        await until(lambda: house.pipeline.roster.stale_beats == 1, "the stale heartbeat is seen")
        hold.released.set()
        await stream.end()

        assert "ok" == stream.text
