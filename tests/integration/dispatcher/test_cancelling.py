"""Cancelling: from anywhere, at any moment; the device stops, the slot is free, and the producer is told."""

from __future__ import annotations

from typing import Any

import pytest

from common import codec
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import PATIENCE_S
from tests.integration.dispatcher.scripted import Hold, answer, go_on, ignore, stall, until


@pytest.mark.parametrize(
    ("script", "words"),
    [(ignore, ""), (stall(), ""), (stall("some"), "some")],
    ids=["unaccepted", "accepted", "speaking"],
)
async def test_a_running_job_is_cancelled(a_house: OpenHouse, script: Any, words: str) -> None:
    """A running job ends with `cancelled`, its device hears of it, and the next job gets the slot."""
    async with a_house() as house:
        nano = await house.device("nano", script, answer("next"))
        stream = await house.stream(job="j1")
        await nano.attempt()
        await until(lambda: stream.text == words, "so much is visible")
        answered = await house.order("j1", "cancel")
        last = await stream.error()
        await until(nano.attempts[0].cancelled.is_set, "the device hears of it")
        after = (await (await house.ask()).reply())["text"]

        assert ({"job": "j1", "cancelled": True}, "cancelled", [("j1", 1)], "next") == (
            answered,
            last.error.code,
            nano.cancels,
            after,
        )


async def test_a_cancelled_job_is_told_with_its_device(a_house: OpenHouse) -> None:
    """The event and the account of a cancelled job say where it ran."""
    async with a_house() as house:
        await house.device("nano", stall("some"))
        stream = await house.stream(job="j1")
        await until(lambda: stream.text == "some", "it speaks")
        await house.order("j1", "cancel")
        last = await stream.error()
        event = await house.event("j1")
        assert last.route is not None

        assert ("cancelled", "nano", 1, "nano", [("nano", "cancelled")]) == (
            event["state"],
            event["device"],
            event["attempts"],
            last.route["device"],
            [(one["device"], one["outcome"]) for one in last.route["attempts"]],
        )


async def test_a_cancelled_device_is_not_blamed(a_house: OpenHouse) -> None:
    """What the user breaks off is no fault of the device."""
    async with a_house() as house:
        nano = await house.device("nano", stall("some"))
        stream = await house.stream(job="j1")
        await nano.attempt()
        await house.order("j1", "cancel")
        await stream.error()

        assert 0.0 == house.pipeline.roster.fleet.devices["nano"].track.error_rate


async def test_a_waiting_job_is_cancelled(a_house: OpenHouse) -> None:
    """A job in the line leaves it, and those behind it move up. Asked why, no device was chosen, though there was a best."""
    async with a_house() as house:
        hold = Hold()
        nano = await house.device("nano", hold, answer("ok"))
        first = await house.stream()
        await hold.reached.wait()
        second, third = await house.stream(job="j2"), await house.stream()
        await house.waiting(2)
        await house.order("j2", "cancel")
        last = await second.error()
        await house.waiting(1)
        hold.released.set()
        await first.end()
        await third.end()
        why = await house.order("j2", "why")

        assert ("cancelled", 2) == (last.error.code, len(nano.attempts))
        assert (None, ["nano"]) == (why["chosen"], [one["device"] for one in why["options"]])


async def test_one_reply_is_cancelled_too(a_house: OpenHouse) -> None:
    """A request that waits for one reply gets the error as its reply."""
    async with a_house() as house:
        nano = await house.device("nano", stall("some"))
        asked = await house.ask(job="j1")
        await nano.attempt()
        await house.order("j1", "cancel")
        body = await asked.reply()

        assert ("cancelled", "j1") == (body["error"]["code"], body["job"])


async def test_cancelling_twice_is_cancelling_once(a_house: OpenHouse) -> None:
    """A second cancel, in the same moment, costs the job neither its last frame nor its record."""
    async with a_house() as house:
        nano = await house.device("nano", stall("some"))
        stream = await house.stream(job="j1")
        await nano.attempt()
        for _ in range(5):
            await house.world.publish(house.subjects.control("j1", "cancel"), b"{}", reply=house.world.new_inbox())
        last = await stream.error()

        assert ("cancelled", "cancelled") == (last.error.code, (await house.event("j1"))["state"])


async def test_a_cancel_in_the_moment_of_a_grant(a_house: OpenHouse) -> None:
    """A job that is cancelled as its slot becomes free leaves the slot to the next, whoever was faster."""
    async with a_house() as house:
        hold = Hold()
        await house.device("nano", hold, answer("ok"))
        first = await house.stream()
        await hold.reached.wait()
        second, third = await house.stream(job="j2"), await house.stream()
        await house.waiting(2)
        hold.released.set()
        await house.world.publish(house.subjects.control("j2", "cancel"), b"{}", reply=house.world.new_inbox())
        await first.end()
        await until(lambda: second.ended, "the second is over")
        await third.end()

        assert "ok" == third.text


async def test_the_status_of_a_job(a_house: OpenHouse) -> None:
    """`ctl.<job>.status` says that a job runs."""
    async with a_house() as house:
        hold = Hold()
        await house.device("nano", hold)
        stream = await house.stream(job="j1")
        await hold.reached.wait()
        status = await house.order("j1", "status")
        hold.released.set()
        await stream.end()

        assert ("j1", "default", "running") == (status["job"], status["tenant"], status["state"])


async def test_an_order_under_a_tenants_subject_means_that_tenant_alone(a_house: OpenHouse) -> None:
    """`ctl.<job>.cancel.<tenant>` ends no other tenant's job, whatever its message says; under its own tenant's it does."""
    async with a_house() as house:
        nano = await house.device("nano", stall("some"))
        stream = await house.stream(job="j1")
        await nano.attempt()
        body, told = codec.encode({"tenant": "default"}), []
        for tenant in ("other", "default"):
            subject = house.subjects.control("j1", "cancel", tenant)
            told.append(codec.decode((await house.world.request(subject, body, timeout_s=PATIENCE_S)).data))
        last = await stream.error()

        assert ("unknown_job", {"job": "j1", "cancelled": True}, "cancelled") == (
            told[0]["error"]["code"],
            told[1],
            last.error.code,
        )


@pytest.mark.parametrize("tenant", [None, "default"])
@pytest.mark.parametrize("body", [b"", b'{"stream":"LLM_JOBS","seq":7}', b'{"tenant":"default","state":"done"}'])
async def test_what_nobody_waits_for_cancels_nothing(a_house: OpenHouse, tenant: str | None, body: bytes) -> None:
    """A stream answers wherever it is asked to, without a reply subject of its own: what it says under the subject of an order is
    none, and the job runs on."""
    async with a_house() as house:
        hold = Hold("one ", then=go_on("two"))
        await house.device("nano", hold)
        stream = await house.stream(job="j1")
        await hold.reached.wait()
        await house.world.publish(house.subjects.control("j1", "cancel", tenant), body)
        await house.order("j1", "status")  # heard behind it
        hold.released.set()
        await stream.end()

        assert "one two" == stream.text


async def test_no_answer_goes_where_no_inbox_is(a_house: OpenHouse) -> None:
    """Who asks with a device's door, or another job's, as the subject of the answer has no use of the dispatcher's rights there."""
    async with a_house() as house:
        nano = await house.device("nano", answer("ok"))
        for reply in (house.subjects.device("nano", "job"), house.subjects.control("j2", "cancel")):
            for subject in (house.subjects.work("chat", "default"), house.subjects.control("j1", "status", "default")):
                await house.world.publish(subject, b'{"job":"j1","prompt":"hi"}', reply=reply)
        asked = await (await house.ask()).reply()  # the same subscription hears it behind those

        assert ("ok", 1) == (asked["text"], len(nano.attempts))
