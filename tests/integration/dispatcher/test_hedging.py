"""A second device beside a slow one: hedges within a budget, doubts, proofs, and one visible answer."""

from __future__ import annotations

from typing import Any

import pytest

from common.messages import DeviceState
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, Stream
from tests.integration.dispatcher.scripted import MODEL, Hold, ScriptedDevice, answer, go_on, stall, until

HOT = {"temperature_c": 89.0}
"""What makes routing prefer the other device."""

SOON = 0.3

QUICK = 2.0
"""A clock that strikes for one device, and not by chance for the other: longer than a busy machine's pauses."""


def usually_quick(house: House, device: str) -> None:
    """Let a device have spoken within a tenth of a second so far."""
    for _ in range(50):
        house.pipeline.courier._first_tokens.note(device, MODEL, 0.1)


def attempts(route: dict[str, Any] | None) -> list[tuple[str, str, bool]]:
    """The attempts of an answer: device, outcome, begun beside another one."""
    assert route is not None
    return [(one["device"], one["outcome"], bool(one.get("beside"))) for one in route["attempts"]]


async def slow_and_quick(house: House) -> tuple[ScriptedDevice, ScriptedDevice, Stream]:
    """A device that is preferred and says nothing, another one, and a job."""
    slow = await house.device("slow", stall())
    quick = await house.device("quick", answer("here"), **HOT)
    usually_quick(house, "slow")
    return slow, quick, await house.stream()


async def test_a_late_first_token_is_hedged(a_house: OpenHouse) -> None:
    """A second device is asked after the usual time, answers, and the first one is cancelled and not blamed."""
    async with a_house(hedge_share=0.05) as house:
        slow, _, stream = await slow_and_quick(house)
        end = await stream.end()
        await until(lambda: len(slow.cancels) == 1, "the loser is cancelled")

        assert [("slow", "outrun", False), ("quick", "ok", True)] == attempts(end.route)
        assert stream.text == "here"
        assert {0.0} == {one.track.error_rate for one in house.pipeline.roster.fleet.devices.values()}


async def test_the_first_may_still_win(a_house: OpenHouse) -> None:
    """Whoever speaks first is the speaker; the hedge is cancelled when it was in vain."""
    async with a_house(hedge_share=0.05) as house:
        hold = Hold(then=go_on("first after all"))
        await house.device("slow", hold)
        other = await house.device("other", stall(), **HOT)
        usually_quick(house, "slow")
        stream = await house.stream()
        await other.attempt()
        hold.released.set()
        end = await stream.end()
        await until(lambda: len(other.cancels) == 1, "the hedge is cancelled")

        assert [("other", "outrun", True), ("slow", "ok", False)] == attempts(end.route)
        assert (stream.text, end.route and end.route["device"]) == ("first after all", "slow")


async def test_both_failing_is_one_failure_each(a_house: OpenHouse) -> None:
    """When the hedge fails the first goes on; a third device answers when that fails too."""
    async with a_house(hedge_share=0.05, stall_s=QUICK) as house:
        await house.device("slow", stall())
        await house.device("second", stall(), **HOT)
        await house.device("third", answer("third"), temperature_c=90.0, slots=1)
        usually_quick(house, "slow")
        stream = await house.stream()
        end = await stream.end()

        assert stream.text == "third"
        assert {"slow", "second", "third"} == {device for device, _, _ in attempts(end.route)}


@pytest.mark.parametrize("share", [0.0, 0.05])
async def test_hedges_have_a_budget(a_house: OpenHouse, share: float) -> None:
    """A spent budget, and a share of 0, leave the job with its device."""
    async with a_house(hedge_share=share, stall_s=QUICK) as house:
        house.pipeline.courier.hedges.tokens = 0.5
        _, quick, stream = await slow_and_quick(house)
        end = await stream.end()

        assert [("slow", "silent", False), ("quick", "ok", False)] == attempts(end.route)
        assert len(quick.attempts) == 1


async def test_no_hedge_while_the_fleet_is_busy(a_house: OpenHouse) -> None:
    """With most slots taken a hedge would take one from somebody's first attempt."""
    async with a_house(hedge_share=0.05, first_token_s=QUICK) as house:
        hold = Hold("mine ", then=go_on("all mine"))
        for name in ("a", "b", "c"):
            await house.device(name, hold)
        taken = [await house.stream() for _ in range(3)]
        await until(lambda: all(one.text for one in taken), "three jobs hold three slots")
        _, _, stream = await slow_and_quick(house)
        end = await stream.end()
        hold.released.set()
        for one in taken:
            await one.end()

        assert [("slow", "silent", False), ("quick", "ok", False)] == attempts(end.route)


async def test_a_doubted_device_proves_that_it_works(a_house: OpenHouse) -> None:
    """A device that is silent for long is asked for one token, and keeps the job when it gives it and nobody else can help."""
    async with a_house(doubt_s=SOON) as house:
        hold = Hold(then=go_on("slow, not hung"))
        nano = await house.device("nano", hold)
        stream = await house.stream()
        await until(lambda: nano.proofs_asked > 0, "it must prove that it works")
        hold.released.set()
        end = await stream.end()

        assert [("nano", "ok", False)] == attempts(end.route)


async def test_a_hung_backend_is_found_by_its_proof(a_house: OpenHouse) -> None:
    """Its agent lives and says that it prefills; the missing token moves the job, and the device gets no other one."""
    async with a_house(doubt_s=SOON) as house:
        hung = await house.device("hung", stall())
        hung.proof = {"ok": False, "reason": "no token in 5 s"}
        stream = await house.stream()
        refused = await stream.error()
        later = await (await house.stream()).error()

        assert "the backend of hung hangs: no token in 5 s" in refused.error.message
        assert "it failed 1 times in a row, last: no token in 5 s" in later.error.message


async def test_a_doubt_asks_another_device_too(a_house: OpenHouse) -> None:
    """Nothing is visible yet, so a second device may answer; a slow one that speaks first would win."""
    async with a_house(doubt_s=SOON, hedge_share=0.05) as house:
        await house.device("slow", stall())
        await house.device("quick", answer("here"), **HOT)
        stream = await house.stream()
        end = await stream.end()

        assert [("slow", "outrun", False), ("quick", "ok", True)] == attempts(end.route)


async def test_a_job_leaves_a_silent_device_without_any_budget(a_house: OpenHouse) -> None:
    """Its engine proves that it works; this request has had three times as long as usual, and another device is free."""
    async with a_house(doubt_s=SOON) as house:
        slow = await house.device("slow", stall(), slots=2)
        await house.device("quick", answer("here"), **HOT)
        stream = await house.stream()
        end = await stream.end()
        await until(lambda: len(slow.cancels) == 1, "the silent one is cancelled")

        assert [("slow", "silent", False), ("quick", "ok", False)] == attempts(end.route)


async def test_a_faulty_heartbeat_moves_those_who_wait(a_house: OpenHouse) -> None:
    """The agent says that its backend does not answer: a job that waits for its first token goes elsewhere at once."""
    async with a_house(doubt_s=SOON) as house:
        bad = await house.device("bad", stall())
        stream = await house.stream()
        await until(lambda: bad.proofs_asked > 0, "the job has waited for some time")
        await house.device("good", answer("fine"), **HOT)
        await house.beat(bad, state=DeviceState.FAULTY, reason="the backend does not answer")
        end = await stream.end()

        assert [("bad", "backend", False), ("good", "ok", False)] == attempts(end.route)


async def test_an_agent_that_is_killed_is_found_by_the_bus(a_house: OpenHouse) -> None:
    """Nobody listens on its subjects: found without a clock and before a heartbeat is missed, after the text began, too."""
    async with a_house() as house:
        first = await house.device("first", stall("Once "))
        await house.device("second", answer("upon"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once ", "the answer has begun")
        await until(lambda: "first" in house.pipeline.courier.pulse._heard, "its agent was heard")
        await first.die()
        end = await stream.end()

        assert ("Once upon", [("first", "device_lost", False), ("second", "ok", False)]) == (
            stream.text,
            attempts(end.route),
        )
