"""A device fails before anything is visible: the next one answers, and the producer sees nothing of it."""

from __future__ import annotations

from typing import Any

import pytest

from common import errors
from common.frames import Ack, End, Err, KeepAlive, Phase, RouteNote, Token
from common.messages import ModelInfo
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House
from tests.integration.dispatcher.scripted import (
    MODEL,
    Attempt,
    Hold,
    Script,
    answer,
    babble,
    blurt,
    fail,
    go_on,
    ignore,
    patient,
    refuse,
    stall,
    until,
)

TOOLS = [{"type": "function", "function": {"name": "f"}}]

HOT = {"temperature_c": 89.0}
"""What makes routing prefer the other device."""

QUICK = 2.0
"""A clock that strikes for one device, and not by chance for the other: longer than a busy machine's pauses."""

GONE_AT_ONCE: list[Any] = [
    pytest.param(refuse, {}, "busy", id="refused"),
    pytest.param(fail(errors.BackendError("out of memory")), {}, "backend", id="error"),
    pytest.param(fail(errors.ModelNotLoadable("no")), {}, "not_loadable", id="not-loadable"),
    pytest.param(fail(errors.UnknownModel("deleted")), {}, "unknown_model", id="model-gone"),
    pytest.param(fail(errors.InternalError("a bug")), {}, "backend", id="bug-of-the-agent"),
    pytest.param(fail(errors.DeadlineExceeded("by my clock")), {}, "backend", id="wrong-clock"),
    pytest.param(fail(errors.BusDisconnected("mine")), {}, "backend", id="bus-of-the-agent"),
    pytest.param(ignore, {"accept_s": QUICK}, "silent", id="no-accept"),
    pytest.param(stall(), {"stall_s": QUICK}, "silent", id="accept-then-nothing"),
    pytest.param(stall(), {"first_token_s": QUICK}, "silent", id="no-first-token"),
    pytest.param(blurt(b"hello"), {}, "garbled", id="not-json"),
    pytest.param(blurt(b'{"t":"tok"}'), {}, "garbled", id="half-a-frame"),
    pytest.param(blurt(b'{"t":"tok","s":"0","d":7}'), {}, "garbled", id="wrong-types"),
    pytest.param(blurt(b"[]"), {}, "garbled", id="no-object"),
    pytest.param(blurt(b"\xff\x00\x80"), {}, "garbled", id="bytes"),
    pytest.param(blurt(b""), {}, "garbled", id="end-without-end"),
    pytest.param(babble(Token(1, "late")), {}, "garbled", id="gap-at-the-start"),
    pytest.param(babble(End(tokens=3)), {}, "garbled", id="tokens-missing-at-the-end"),
    pytest.param(babble(RouteNote("j", "d", "m", "r", 1)), {}, "garbled", id="frame-out-of-place"),
]


@pytest.mark.parametrize(("script", "clocks", "outcome"), GONE_AT_ONCE)
async def test_the_next_device_answers(
    a_house: OpenHouse, script: Script, clocks: dict[str, float], outcome: str
) -> None:
    """Whatever goes wrong before the first visible token, the next device answers, and only the account tells."""
    async with a_house(**clocks) as house:
        await house.device("bad", script)
        await house.device("good", answer("fine"), **HOT)
        stream = await house.stream()
        end = await stream.end()
        assert end.route is not None

        assert ("fine", "good") == (stream.text, end.route["device"])
        assert [("bad", outcome), ("good", "ok")] == [(one["device"], one["outcome"]) for one in end.route["attempts"]]
        cause = "best free slot" if outcome == "busy" else f"fallback after bad {outcome}"
        assert cause == end.route["reason"].partition(";")[0]


async def test_a_load_that_takes_long_goes_on_beside_another_try(a_house: OpenHouse) -> None:
    """The device that loads is given up only when another one has answered: its model will be wanted."""
    async with a_house(load_s=QUICK) as house:
        bad = await house.device("bad", patient)
        await house.device("good", answer("fine"), **HOT)
        end = await (await house.stream()).end()
        assert end.route is not None

        attempts = [(one["device"], one["outcome"], one.get("beside")) for one in end.route["attempts"]]
        assert [("bad", "outrun", None), ("good", "ok", True)] == attempts
        assert end.route["reason"].startswith("second try after bad was silent for ")
        assert [attempt.dispatch.job for attempt in bad.attempts] == [job for job, _ in bad.cancels]


async def test_a_lone_device_may_load_twice_as_long(a_house: OpenHouse) -> None:
    """Where nobody else can answer, the load clock waits once more before it gives up."""
    async with a_house(load_s=QUICK) as house:
        await house.device("bad", patient)
        refused = await (await house.stream()).error()

        assert "bad: tried already: silent: the load clock of bad struck after" in refused.error.message  # twice QUICK


async def test_a_lone_device_may_be_silent_for_longer(a_house: OpenHouse) -> None:
    """An agent that nobody can stand in for keeps its job through a pause that would cost it elsewhere."""
    async with a_house(accept_s=1.0) as house:
        hold = Hold(then=accept_late, ack=False)
        await house.device("nano", hold)
        stream = await house.stream()
        await hold.reached.wait()
        await until(lambda: _age_s(house) > 1.3, "the clock would have struck")
        hold.released.set()
        end = await stream.end()

        assert ("late", ["ok"]) == (stream.text, [one["outcome"] for one in (end.route or {})["attempts"]])


async def accept_late(attempt: Attempt) -> None:
    """Accept after all, and answer."""
    await attempt.ack()
    await attempt.tokens("late")
    await attempt.end()


async def test_a_device_that_does_not_listen(a_house: OpenHouse) -> None:
    """ "No responders" is found at once, without any clock."""
    async with a_house() as house:
        bad = await house.device("bad", ignore)
        await house.device("good", answer("fine"), **HOT)
        await bad.die()
        stream = await house.stream()
        end = await stream.end()
        assert end.route is not None

        assert ("fine", ["device_lost", "ok"]) == (stream.text, [one["outcome"] for one in end.route["attempts"]])


async def test_a_later_route_note_replaces_the_first(a_house: OpenHouse) -> None:
    """The producer may show where the job runs: the last note before the text is right."""
    async with a_house() as house:
        await house.device("bad", refuse)
        await house.device("good", answer("fine"), **HOT)
        stream = await house.stream()
        await stream.end()

        assert [("bad", 1), ("good", 2)] == [
            (one.device, one.attempt) for one in stream.frames if isinstance(one, RouteNote)
        ]


@pytest.mark.parametrize(
    ("script", "cancelled"), [(ignore, True), (fail(errors.BackendError("x")), True), (refuse, False)]
)
async def test_a_fenced_device_is_told_to_stop(a_house: OpenHouse, script: Script, cancelled: bool) -> None:
    """An attempt that was given up is cancelled on its device; one that was refused has nothing to cancel."""
    async with a_house(accept_s=QUICK) as house:
        bad = await house.device("bad", script)
        await house.device("good", answer("fine"), **HOT)
        stream = await house.stream(job="j1")
        await stream.end()
        await house.settle()
        await until(lambda: bool(bad.cancels) or not cancelled, "the cancel arrives")

        assert ([("j1", 1)] if cancelled else []) == bad.cancels


async def test_late_frames_of_a_fenced_attempt_are_never_shown(a_house: OpenHouse) -> None:
    """A zombie that wakes up while another device answers, and ends its own answer, is not heard."""
    async with a_house(accept_s=QUICK) as house:
        zombie = Hold(then=go_on(" brains"), ack=False)
        bad = await house.device("bad", zombie)
        good = Hold("fine", then=go_on(" again"))
        await house.device("good", good, **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "fine", "the second device speaks")
        await bad.attempts[0].ack()
        await bad.attempts[0].send(Token(1, "brains"))
        await bad.attempts[0].send(Err(errors.BackendError("brains")))
        zombie.released.set()
        await until(lambda: bad.attempts[0].over, "the zombie has ended")
        await house.world.flush()
        good.released.set()
        end = await stream.end()

        assert ("fine again", 2) == (stream.text, end.tokens)


async def test_frames_after_the_end_are_never_shown(a_house: OpenHouse) -> None:
    """What a device sends behind its end, and the same once more, goes nowhere."""

    async def twice(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens("once")
        await attempt.end()
        await attempt.tokens("more")
        await attempt.end()

    async with a_house() as house:
        await house.device("nano", twice)
        stream = await house.stream()
        await stream.end()

        assert "once" == stream.text


@pytest.mark.parametrize("fields", [{"stream": True, "hold": True}, {"stream": False}])
@pytest.mark.parametrize("more", [{}, {"tools": TOOLS}, {"format": "json"}])
async def test_held_text_starts_again(a_house: OpenHouse, fields: dict[str, Any], more: dict[str, Any]) -> None:
    """Where nothing is visible before the end, a job moves in the middle of the text, from scratch and unseen, tools or not."""
    async with a_house() as house:
        hold = Hold("half of an", then=fail(errors.BackendError("broke")))
        await house.device("bad", hold)
        good = await house.device("good", answer("whole", " answer"), **HOT)
        stream = await (house.stream(hold=True, **more) if fields["stream"] else house.ask(**more))
        await hold.reached.wait()
        hold.released.set()
        if fields["stream"]:
            await stream.end()
            text = stream.text
        else:
            text = (await stream.reply())["text"]

        assert ("whole answer", 1) == (text, len(good.attempts[0].dispatch.messages))


async def test_silent_decoding_is_no_silence(a_house: OpenHouse) -> None:
    """A device that gathers text which nobody watches, and says that it decodes, is not taken for stuck before the first token."""
    async with a_house(first_token_s=QUICK) as house:
        hold = Hold(then=go_on("long answer"))
        nano = await house.device("nano", hold)
        stream = await house.ask()
        await hold.reached.wait()
        await nano.attempts[0].send(KeepAlive(Phase.DECODE))
        await until(
            lambda: nano.attempts[0].device.bus.connected and _age_s(house) > 1.3 * QUICK, "the clock would have struck"
        )
        hold.released.set()

        assert "long answer" == (await stream.reply())["text"]


def _age_s(house: House) -> float:
    (running,) = house.pipeline.register
    return float(house.pipeline.clock.monotonic() - running.job.received_s)


async def test_the_fault_of_a_request_is_told_at_once(a_house: OpenHouse) -> None:
    """An error that lies in the request goes to its sender; other devices are not bothered."""
    async with a_house() as house:
        await house.device("bad", fail(errors.UnsupportedByModel("it can't see")))
        good = await house.device("good", answer("fine"), **HOT)
        stream = await house.stream()

        assert ("unsupported", 0) == ((await stream.error()).error.code, len(good.attempts))


async def test_when_all_have_failed(a_house: OpenHouse) -> None:
    """The last word names every device and what it said, and may be retried."""
    async with a_house() as house:
        await house.device("nano", fail(errors.BackendError("out of memory")))
        await house.device("orin", fail(errors.ModelNotLoadable("corrupt")), **HOT)
        stream = await house.stream(job="j1")
        last = await stream.error()

        assert ("no_device", True, True, True) == (
            last.error.code,
            last.error.retryable,
            "nano: tried already: backend: out of memory" in last.error.message,
            "orin: tried already: not_loadable: corrupt" in last.error.message,
        )
        assert last.route is not None
        assert ["backend", "not_loadable"] == [one["outcome"] for one in last.route["attempts"]]
        assert "failed" == (await house.event("j1"))["state"]


async def test_a_failing_device_loses_its_rank(a_house: OpenHouse) -> None:
    """A device that failed is held to it by the health term; one that was busy or cancelled is not."""
    async with a_house() as house:
        await house.device("bad", fail(errors.BackendError("x")), refuse)
        await house.device("good", answer("fine"), **HOT)
        await (await house.stream()).end()
        fleet = house.pipeline.roster.fleet.devices
        after_a_failure = fleet["bad"].track.error_rate
        await (await house.stream(device="good")).end()

        assert (pytest.approx(0.2), 0.0) == (after_a_failure, fleet["good"].track.error_rate)


async def test_the_first_token_is_that_of_the_answer(a_house: OpenHouse) -> None:
    """The time to the first token is that of the text which the producer got, not of one that was thrown away."""
    async with a_house() as house:
        hold = Hold("thrown away", then=fail(errors.BackendError("broke")))
        await house.device("bad", hold)
        await house.device("good", answer("fine"), **HOT)
        stream = await house.stream(hold=True)
        await hold.reached.wait()
        await until(lambda: _age_s(house) > 0.05, "some time has passed")
        age_s = _age_s(house)
        hold.released.set()
        end = await stream.end()
        assert end.route is not None

        assert end.route["timings"]["first_token_s"] >= round(age_s, 4)


@pytest.mark.parametrize("loaded", [True, False])
async def test_a_load_is_no_latency(a_house: OpenHouse, loaded: bool) -> None:
    """What a device is known for is the first token of models in memory: a load is predicted by itself."""
    async with a_house() as house:
        await house.device("nano", answer("fine"), models=(ModelInfo(name=MODEL, loaded=loaded),))
        await (await house.stream()).end()
        track = house.pipeline.roster.fleet.devices["nano"].track

        assert (1, loaded) == (track.attempts, track.first_token_s is not None)


async def test_the_model_asked_for_is_the_model_used(a_house: OpenHouse) -> None:
    """Fallback never changes a model that was named."""
    async with a_house() as house:
        await house.device("bad", fail(errors.BackendError("x")))
        good = await house.device("good", answer("fine"), **HOT)
        await (await house.stream(model=MODEL)).end()

        assert MODEL == good.attempts[0].dispatch.model


async def test_the_acknowledgement_comes_once(a_house: OpenHouse) -> None:
    """The producer's ack is the dispatcher's own, however many devices accept."""
    async with a_house() as house:
        await house.device("bad", fail(errors.BackendError("x")))
        await house.device("good", answer("fine"), **HOT)
        stream = await house.stream(job="j1")
        await stream.end()

        assert [Ack("j1")] == [one for one in stream.frames if isinstance(one, Ack)]
