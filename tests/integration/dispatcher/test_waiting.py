"""Every slot is taken: jobs wait in the order in which they came, and hear that they wait."""

from __future__ import annotations

from typing import Any

import pytest

from common.clock import loop_s
from common.errors import BackendError, DeadlineExceeded, DeviceLost
from common.frames import KeepAlive, Phase, Token
from common.messages import DeviceState, ModelInfo, Speed
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import Stream
from tests.integration.dispatcher.scripted import MODEL, Attempt, Hold, answer, fail, refuse, until


async def test_jobs_wait_their_turn(a_house: OpenHouse) -> None:
    """Jobs run in the order in which they came, one per slot, and never two."""
    async with a_house() as house:
        hold = Hold()
        order: list[str] = []

        async def note(attempt: Attempt) -> None:
            order.append(attempt.dispatch.messages[0].content)
            await answer("ok")(attempt)

        nano = await house.device("nano", hold, note)
        first = await house.stream("0")
        await hold.reached.wait()
        streams = []
        for number in range(1, 9):
            streams.append(await house.stream(str(number)))
            await house.waiting(number)
        hold.released.set()
        for stream in (first, *streams):
            await stream.end()

        assert ([str(number) for number in range(1, 9)], 1) == (order, nano.most_at_once)


async def placed(stream: Stream, number: int) -> KeepAlive:
    """Wait for the n-th keep-alive that names a place; before the line's own first word the dispatcher may say that it lives."""

    def known() -> list[KeepAlive]:
        return [one for one in stream.frames if isinstance(one, KeepAlive) and one.position is not None]

    await until(lambda: len(known()) >= number, f"{number} places in the line")
    return known()[number - 1]


async def test_who_waits_hears_of_it_each_second(a_house: OpenHouse) -> None:
    """A waiting producer gets keep-alives with its place in the line, and the place moves up."""
    async with a_house() as house:
        hold = Hold()
        await house.device("nano", hold, answer("ok"))
        await house.stream()
        await hold.reached.wait()
        second, third = await house.stream(), await house.stream()
        waits = [await placed(stream, 1) for stream in (second, third)]
        again = await placed(third, 2)
        hold.released.set()
        await second.end()
        end = await third.end()
        assert end.route is not None

        assert [
            KeepAlive(Phase.QUEUE, position=1),
            KeepAlive(Phase.QUEUE, position=2),
            KeepAlive(Phase.QUEUE, position=2),
        ] == [
            *waits,
            again,
        ]
        assert end.route["timings"]["queue_s"] > 1.0


async def test_a_refusal_is_believed_until_the_next_heartbeat(a_house: OpenHouse) -> None:
    """A device that refuses, though it looked free, is left alone until it speaks again; then the job runs there."""
    async with a_house() as house:
        nano = await house.device("nano", refuse, answer("ok"))
        stream = await house.stream()
        await house.waiting(1)
        asked = len(nano.attempts)
        await house.beat(nano)
        end = await stream.end()
        assert end.route is not None

        assert (1, ["busy", "ok"]) == (asked, [one["outcome"] for one in end.route["attempts"]])


async def test_a_job_that_lost_its_device_is_next(a_house: OpenHouse) -> None:
    """A job whose device failed stands before those that came later and had none yet."""
    async with a_house() as house:
        busy, failing = Hold(), Hold(then=fail(BackendError("broke")))
        order: list[str] = []

        async def note(attempt: Attempt) -> None:
            order.append(attempt.dispatch.messages[0].content)
            await answer("ok")(attempt)

        await house.device("nano", busy, note)
        await house.device("orin", failing)
        streams = [await house.stream("first", device="nano")]
        await busy.reached.wait()
        streams.append(await house.stream("moves"))
        await failing.reached.wait()
        streams.append(await house.stream("later", device="nano"))
        await house.waiting(1)
        failing.released.set()
        await house.waiting(2)
        busy.released.set()
        for stream in streams:
            await stream.end()

        assert ["moves", "later"] == order


async def test_a_device_that_joins_takes_the_waiting(a_house: OpenHouse) -> None:
    """A job that waits for a full fleet goes to the device that comes up."""
    async with a_house() as house:
        hold = Hold()
        await house.device("nano", hold)
        first = await house.stream()
        await hold.reached.wait()
        second = await house.stream()
        await house.waiting(1)
        await house.device("orin", answer("ok"))
        await second.end()
        hold.released.set()
        await first.end()

        assert "ok" == second.text


async def test_a_slot_of_another_dispatcher_is_not_ours(a_house: OpenHouse) -> None:
    """What other dispatchers run on a device counts, and its end lets the waiting run."""
    async with a_house() as house:
        nano = await house.device("nano", answer("ok"), jobs_by_dispatcher={"elsewhere": 1})
        stream = await house.stream()
        await house.waiting(1)
        before = len(nano.attempts)
        await house.beat(nano, jobs_by_dispatcher={})
        await stream.end()

        assert (0, 1) == (before, len(nano.attempts))


async def test_a_full_queue_refuses_at_once(a_house: OpenHouse) -> None:
    """Above its limit the queue takes nobody, and says when to come again."""
    async with a_house(queue_limit=2) as house:
        hold = Hold()
        await house.device("nano", hold, answer("ok"))
        streams = [await house.stream()]
        await hold.reached.wait()
        for number in (1, 2):
            streams.append(await house.stream())
            await house.waiting(number)
        refused = await (await house.ask(job="j9")).reply()
        event = await house.event("j9")
        hold.released.set()
        for stream in streams:
            await stream.end()

        assert ("queue_full", True, True, "refused") == (
            refused["error"]["code"],
            refused["error"]["retry"],
            refused["error"]["retry_after_s"] > 0,
            event["state"],
        )


async def test_interactive_jobs_go_before_normal_ones_and_these_before_batch(a_house: OpenHouse) -> None:
    """The priority of the request decides, not the order of arrival."""
    async with a_house() as house:
        hold = Hold()
        order: list[str] = []

        async def note(attempt: Attempt) -> None:
            order.append(attempt.dispatch.messages[0].content)
            await answer("ok")(attempt)

        await house.device("nano", hold, note)
        streams = [await house.stream("0")]
        await hold.reached.wait()
        for number, priority in enumerate(("batch", "normal", "interactive"), start=1):
            streams.append(await house.stream(priority, priority=priority))
            await house.waiting(number)
        hold.released.set()
        for stream in streams:
            await stream.end()

        assert ["interactive", "normal", "batch"] == order


async def test_a_full_queue_refuses_nobody_for_whom_a_slot_is_free(a_house: OpenHouse) -> None:
    """The limit is on those that wait: a job that another device can take at once is taken."""
    async with a_house(queue_limit=1) as house:
        hold = Hold()
        await house.device("nano", hold, answer("ok"))
        await house.device("orin", answer("at once"))
        streams = [await house.stream(device="nano")]
        await hold.reached.wait()
        streams.append(await house.stream(device="nano"))
        await house.waiting(1)
        free = await house.stream(device="orin")
        await free.end()
        hold.released.set()
        for stream in streams:
            await stream.end()

        assert "at once" == free.text


async def test_with_a_limit_of_nothing_nobody_waits(a_house: OpenHouse) -> None:
    """A job runs at once or is refused."""
    async with a_house(queue_limit=0) as house:
        hold = Hold()
        await house.device("nano", hold)
        first = await house.stream()
        await hold.reached.wait()
        refused = await (await house.stream()).error()
        hold.released.set()
        await first.end()

        assert "queue_full" == refused.error.code


async def test_a_batch_job_makes_room_for_an_interactive_one(a_house: OpenHouse) -> None:
    """When the line is full, the batch job ends with `queue_full`, refused and never begun, and the interactive one is answered."""
    async with a_house(queue_limit=1) as house:
        hold = Hold()
        await house.device("nano", hold, answer("ok"))
        first = await house.stream()
        await hold.reached.wait()
        batch = await house.stream(priority="batch", job="b")
        await house.waiting(1)
        urgent = await house.stream(priority="interactive")
        shed = await batch.error()
        hold.released.set()
        await first.end()
        await urgent.end()
        event = await house.event("b")

        assert ("queue_full", True, "refused", "ok") == (
            shed.error.code,
            shed.error.retry_after_s is not None,
            event["state"],
            urgent.text,
        )


async def test_a_job_without_enough_time_is_refused_at_once(a_house: OpenHouse) -> None:
    """A job whose turn can't come in time is told so: nine before it on one slot, and each takes 2.5 s at the least."""
    async with a_house() as house:
        hold = Hold()
        speeds = {MODEL: Speed(decode_tps=10.0, prefill_tps=1000.0)}  # 200 tokens in 20 s, an eighth of it 2.5
        await house.device("nano", hold, *[answer("ok")] * 9, speeds=speeds)
        waiting = [await house.stream()]
        await hold.reached.wait()
        waiting += [await house.stream(timeout_s=60.0) for _ in range(9)]
        await until(lambda: house.pipeline.courier.line.waiting == 9, "the line stands")
        refused = await (await house.stream(job="late", timeout_s=10.0, priority="batch")).error()
        event = await house.event("late")
        hold.released.set()
        for one in waiting:
            await one.end()

        assert ("deadline_infeasible", "refused", True) == (
            refused.error.code,
            event["state"],
            refused.error.retry_after_s is not None,
        )


async def test_an_answer_half_told_that_can_not_go_on_in_time_is_broken_off(a_house: OpenHouse) -> None:
    """A producer that comes back with the beginning of an answer hears what it has of it, not that nothing was begun."""
    async with a_house() as house:
        hold = Hold()
        speeds = {MODEL: Speed(decode_tps=10.0, prefill_tps=1000.0)}
        await house.device("nano", hold, *[answer("ok")] * 9, speeds=speeds)
        waiting = [await house.stream()]
        await hold.reached.wait()
        waiting += [await house.stream(timeout_s=60.0) for _ in range(9)]
        await until(lambda: house.pipeline.courier.line.waiting == 9, "the line stands")
        back = await house.stream(job="back", timeout_s=10.0, priority="batch", resume="Once", resends=1)
        refused = await back.error()
        hold.released.set()
        for one in waiting:
            await one.end()

        assert ("interrupted", 4) == (refused.error.code, refused.error.details["delivered_chars"])


async def test_an_idle_fleet_refuses_nobody_for_its_deadline(a_house: OpenHouse) -> None:
    """After twenty slow answers a job with less time than they took is begun at once, and answered."""
    async with a_house() as house:
        await house.device("nano", answer("ok"))
        habits, habit = house.pipeline.courier.line.habits, ("default", f"{MODEL} on any")
        for _ in range(30):
            habits.answered(habit, loop_s(), expected_s=0.1, took_s=1000.0)
        stream = await house.stream(model=MODEL, timeout_s=5.0)
        await stream.end()

        assert ("ok", True) == (stream.text, habits.likely_s(habit, loop_s(), 1.0) > 1000.0)


async def test_who_moves_to_another_device_is_told_nothing_of_hopeless(a_house: OpenHouse) -> None:
    """A job whose text was seen goes on elsewhere, though a whole answer would not fit into its time any more."""
    async with a_house() as house:
        hold = Hold("almost all of it ")
        cold = (ModelInfo(name=MODEL, size_bytes=10**9, loaded=False),)
        slow = {MODEL: Speed(decode_tps=1.0, prefill_tps=1000.0, load_s=3600.0)}
        nano = await house.device("nano", hold, speeds=slow)
        stream = await house.stream(timeout_s=20.0)
        await stream.seen(Token)
        await house.device("orin", answer("done"), speeds=slow, models=cold)
        await nano.attempts[0].fail(DeviceLost("gone"))
        end = await stream.end()
        assert end.route is not None

        assert "orin" == end.route["device"]


async def test_a_device_is_told_how_much_time_is_left(a_house: OpenHouse) -> None:
    """The dispatch carries its deadline and when it was sent, by one clock; the device's deadline comes before the job's."""
    async with a_house() as house:
        nano = await house.device("nano", answer("ok"))
        await (await house.stream(timeout_s=30.0)).end()
        dispatch = nano.attempts[0].dispatch
        assert dispatch.deadline_ms is not None
        assert dispatch.sent_ms is not None

        assert 20_000 < dispatch.deadline_ms - dispatch.sent_ms <= 29_900


@pytest.mark.parametrize("held", [True, False])
async def test_a_deadline_ends_waiting(a_house: OpenHouse, held: bool) -> None:
    """A job that gets no slot in its time ends with `deadline`."""
    async with a_house() as house:
        hold = Hold()
        nano = await house.device("nano", hold)
        first = await house.stream()
        await hold.reached.wait()
        late = await house.stream(hold=held, timeout_s=1.0)
        last = await late.error()
        hold.released.set()
        await first.end()

        assert ("deadline", True, 1) == (
            last.error.code,
            "no device had a free slot" in last.error.message,
            len(nano.attempts),
        )


@pytest.mark.parametrize(
    ("beat", "words", "retry_after_s"),
    [
        (
            {"slots": 0, "reason": "the rate limit is used up", "closed_s": 60.0},
            "no device had a free slot within 1 s (nano: the rate limit is used up): allow more time",
            60.0,
        ),
        (
            {"state": DeviceState.STARTING, "reason": "it boots"},
            "no device could take the job within 1 s (no device can take the job now: nano: it is starting: it boots): allow",
            2.0,
        ),
    ],
)
async def test_a_time_out_tells_what_was_waited_for(
    a_house: OpenHouse, beat: dict[str, Any], words: str, retry_after_s: float
) -> None:
    """What keeps the devices from a job stands in its error, and when to come again."""
    async with a_house() as house:
        await house.device("nano", **beat)
        last = await (await house.stream(timeout_s=1.0)).error()

        assert ("deadline", True, retry_after_s) == (
            last.error.code,
            words in last.error.message,
            last.error.retry_after_s,
        ), last.error.message


async def test_a_deadline_ends_a_running_job(a_house: OpenHouse) -> None:
    """A job that runs out of time while a device speaks ends with `deadline`, the device is cancelled, and not blamed."""
    async with a_house() as house:
        nano = await house.device("nano", Hold("some"))
        stream = await house.stream(timeout_s=2.0)
        last = await stream.error()
        await until(nano.attempts[0].cancelled.is_set, "the device is cancelled")

        assert ("deadline", "some", 0.0) == (
            last.error.code,
            stream.text,
            house.pipeline.roster.fleet.devices["nano"].track.error_rate,
        )


async def test_a_device_that_says_that_the_time_is_over_is_believed(a_house: OpenHouse) -> None:
    """Its deadline is a little earlier than the job's: it is not blamed, and no other device is given the job for the rest."""
    async with a_house() as house:
        too_late = fail(DeadlineExceeded("the deadline passed while it ran"))
        for name in ("nano", "orin"):
            await house.device(name, too_late)
        stream = await house.stream(timeout_s=0.15)
        last = await stream.error()

        blame = {name: one.track.error_rate for name, one in house.pipeline.roster.fleet.devices.items()}
        assert ("deadline", {"nano": 0.0, "orin": 0.0}) == (last.error.code, blame)


async def test_memory_that_comes_free_is_used(a_house: OpenHouse) -> None:
    """A job whose only device has no memory for its model just now waits, and runs when there is some."""
    async with a_house() as house:
        cold = ModelInfo(name=MODEL, size_bytes=4 * 10**9)  # needs 4.6 GB
        little = {"memory_total_bytes": 8 * 10**9, "memory_available_bytes": 10**9}
        nano = await house.device("nano", answer("ok"), models=(cold,), **little)
        stream = await house.stream()
        await house.waiting(1)
        await house.beat(nano, memory_available_bytes=7 * 10**9)
        await stream.end()

        assert "ok" == stream.text


async def test_a_fleet_of_faulty_devices_refuses_at_once(a_house: OpenHouse) -> None:
    """A job whose only device is out is told so, as /health says it: nobody knows when the device is well again."""
    async with a_house() as house:
        await house.device("nano", answer("ok"), state=DeviceState.FAULTY, reason="the backend does not answer")
        error = await (await house.stream()).error()

        assert "nano: it is faulty: the backend does not answer" in str(error)


async def test_a_device_that_starts_is_worth_waiting_for(a_house: OpenHouse) -> None:
    """A job whose only device has not come up yet waits, and runs when the device is ready."""
    async with a_house() as house:
        nano = await house.device("nano", answer("ok"), state=DeviceState.STARTING)
        stream = await house.stream()
        await house.waiting(1)
        await house.beat(nano, state=DeviceState.READY)
        await stream.end()

        assert "ok" == stream.text


async def test_a_new_dispatcher_waits_for_devices_that_it_has_not_heard_yet(a_house: OpenHouse) -> None:
    """A job that comes before the first heartbeat is answered by the device that beats next."""
    async with a_house(settle_s=30.0) as house:
        stream = await house.stream()
        await house.waiting(1)
        await house.device("nano", answer("here I am"))
        await stream.end()

        assert stream.text == "here I am"


async def test_a_dispatcher_that_has_settled_knows_that_nobody_is_there(a_house: OpenHouse) -> None:
    """After its first moments an empty fleet is an empty fleet, and said to be."""
    async with a_house(settle_s=0.2) as house:
        stream = await house.stream()
        error = await stream.error()

        assert error.error.code == "no_device"


async def test_a_trial_that_ends_without_a_verdict_leaves_its_slot_to_the_next(a_house: OpenHouse) -> None:
    """A device is tried after failures; the trial is cancelled, which says nothing of the device, and who waits gets its slot."""
    async with a_house() as house:
        hold = Hold()
        nano = await house.device("nano", hold, answer("well again"))
        house.pipeline.roster.hung("nano", "no token", house.pipeline.clock.monotonic() - 3600.0)
        await until(lambda: house.pipeline.roster.fleet.devices["nano"].usable, "one job may try it")
        trial = await house.stream()
        await hold.reached.wait()
        stream = await house.stream()
        await house.waiting(1)
        (job,) = {attempt.dispatch.job for attempt in nano.attempts}
        house.pipeline.cancel(job, "by the test")
        await trial.error()
        await stream.end()

        assert "well again" == stream.text
