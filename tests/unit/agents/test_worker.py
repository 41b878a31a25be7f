"""The worker with a backend that is held by hand, over the memory bus: what is sent when, and what is never sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.backends import BackendDone
from agents.backends.purse import Budget, open_purse
from common import codec
from common.bus import Delivery
from common.clock import LoopClock
from common.errors import BackendError, BudgetSpent
from common.frames import Finish
from common.messages import EngineTimings, Usage
from tests.listening import GUARD_S, Listener, settled
from tests.unit.agents.hand_clock import HandClock
from tests.unit.agents.worker_rig import FIRST, JOB, Rig, frames, kinds, opened


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Its clock stands still, so that no keep-alive comes between the frames when the machine pauses."""
    async with opened(clock=HandClock()) as rig:
        yield rig


@pytest.fixture
async def living() -> AsyncIterator[Rig]:
    """Its clock goes."""
    async with opened() as rig:
        yield rig


async def test_the_acceptance_comes_before_any_model_work(rig: Rig) -> None:
    """The backend has said nothing, and never will."""
    heard = await rig.send()

    await heard.until(1)
    assert frames(heard) == [{"t": "ack", "boot": "b1"}]


async def test_an_answer_ends_with_its_account(rig: Rig) -> None:
    """Text, then usage, timings and finish, then the empty payload."""
    heard = await rig.send()
    rig.backend.say("Hi")
    rig.backend.finish(
        BackendDone(
            finish=Finish.LENGTH,
            usage=Usage(prompt_tokens=3, completion_tokens=1),
            engine=EngineTimings(load_s=0.5),
        )
    )

    await heard.until(4)
    assert frames(heard) == [
        {"t": "ack", "boot": "b1"},
        {"t": "tok", "s": 0, "d": "Hi"},
        {
            "t": "end",
            "s": 1,
            "finish": "length",
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
            "engine": {"load_s": 0.5},
        },
        {},
    ]


async def test_a_slot_is_free_before_the_end_is_heard(rig: Rig) -> None:
    """Whoever reads the end may send the next job at once, and is not refused."""
    taken: dict[str | None, int] = {}

    def watch(delivery: Delivery) -> None:
        kind = codec.decode(delivery.data)["t"] if delivery.data else None
        taken[kind] = rig.worker.workload().in_flight

    await rig.sender.subscribe(FIRST, watch)
    heard = await rig.send(1)
    await heard.until(1)
    rig.backend.finish()
    await heard.until(3)

    assert taken == {"ack": 1, "end": 0, None: 0}


async def test_a_job_beyond_the_slots_is_refused(rig: Rig) -> None:
    """At once, with an error and the end of the stream, and without an acceptance."""
    await rig.send(1)
    second = await rig.send(2)

    await second.until(2)
    assert [frame.get("code") for frame in frames(second)] == ["busy", None]


async def test_a_backend_that_takes_nothing_new_leaves_no_slot() -> None:
    """What runs, runs on and is counted; who comes is told why, in the backend's own words."""
    async with opened(slots=3, clock=HandClock()) as rig:
        first = await rig.send(1)
        await first.until(1)
        rig.backend.refuses = BudgetSpent("no money left", retry_after_s=7.0)

        second = await rig.send(2)
        await second.until(2)
        load = rig.worker.workload()
        rig.backend.refuses = None

        assert (load.slots, load.in_flight, rig.worker.workload().slots) == (1, 1, 3)
        assert (frames(second)[0]["code"], frames(second)[0]["retry_after_s"]) == ("budget", 7.0)


async def test_the_cost_of_an_answer_travels_with_its_end(rig: Rig) -> None:
    """As the backend counted it, and told as an estimate where it is one."""
    rig.backend.owes_usd = 0.002
    heard = await rig.send()
    rig.backend.finish()

    await heard.until(3)
    assert (frames(heard)[1]["cost_usd"], frames(heard)[1]["cost_estimated"]) == (0.002, True)


async def test_the_cost_of_a_cancelled_job_travels_with_its_error(rig: Rig) -> None:
    """Somebody pays for what was computed until then."""
    rig.backend.owes_usd = 0.002
    heard = await rig.send()
    await heard.until(1)
    rig.worker.attempts.cancel(FIRST)
    await rig.backend.hung_up(0)
    rig.backend.say("late")
    await heard.until(2)

    assert frames(heard)[1]["details"] == {"cost_usd": 0.002, "cost_estimated": True}


async def test_a_budget_holds_however_many_jobs_come_at_once(tmp_path: Path) -> None:
    """Eight slots, 25 dollars, up to 20 for an answer: one job is accepted, and the others are refused before that."""
    purse = open_purse(tmp_path / "cloud.json", Budget(total_usd=25.0), HandClock())
    async with opened(slots=8) as rig:
        rig.backend.admitting = lambda: purse.hold(20.0)
        heard = [await rig.send(number) for number in range(8)]
        for one in heard[1:]:
            await one.until(2)

        assert [kinds(one)[0] for one in heard[1:]] == ["err"] * 7
        assert frames(heard[1])[0]["code"] == "budget"
        assert (rig.worker.workload().in_flight, purse.spent.held_usd) == (1, 20.0)


async def test_a_draining_device_refuses(rig: Rig) -> None:
    """What runs, runs on."""
    first = await rig.send(1)
    await first.until(1)
    rig.worker.drain(on=True)

    second = await rig.send(2)
    await second.until(2)
    rig.backend.finish()
    await first.until(3)

    assert frames(second)[0]["code"] == "busy"
    assert kinds(first) == ["ack", "end", None]


async def test_a_drained_device_takes_jobs_again(rig: Rig) -> None:
    """Drain off is all it needs."""
    rig.worker.drain(on=True)
    rig.worker.drain(on=False)

    heard = await rig.send()
    await heard.until(1)

    assert kinds(heard) == ["ack"]


async def test_the_same_attempt_runs_once(rig: Rig) -> None:
    """A second delivery under the same reply subject is not answered at all: the first one answers."""
    heard = await rig.send(1)
    await rig.deliver(FIRST, 1)
    rig.backend.finish()
    await heard.until(3)
    await rig.deliver(FIRST, 1)
    other = await rig.send(1)
    await other.until(1)

    assert kinds(heard) == ["ack", "end", None]


@pytest.mark.parametrize("draining", [False, True], ids=["full", "draining"])
async def test_a_refused_attempt_never_runs(rig: Rig, *, draining: bool) -> None:
    """Its dispatcher has turned elsewhere: delivered again when there is room, it is refused again."""
    await rig.send(1)
    await rig.backend.started.wait()
    rig.worker.drain(on=draining)
    refused = await rig.send(2)
    await refused.until(2)
    rig.worker.drain(on=False)
    rig.backend.finish()
    await rig.idle()
    await rig.deliver("_INBOX_disp.d.1.1", 2)
    await refused.until(4)
    other = await rig.send(3)
    await other.until(1)

    assert (["err", None] * 2, ["ack"]) == (kinds(refused), kinds(other))
    assert ["busy", "busy"] == [frame["code"] for frame in frames(refused) if frame]


async def test_a_job_id_that_comes_again_runs_again(rig: Rig) -> None:
    """A producer may use its id once more, with the same number of the attempt."""
    for _ in range(2):
        heard = await rig.send(1)
        rig.backend.finish()
        await heard.until(3)

        assert kinds(heard) == ["ack", "end", None]


async def test_two_senders_may_use_the_same_job_id_at_once() -> None:
    """Two tenants, or two dispatchers, know nothing of each other's ids; both jobs run, and are cancelled one by one."""
    async with opened(slots=2, clock=HandClock()) as rig:
        one, other = await rig.send(1), await rig.send(1, dispatcher="e")
        await one.until(1)
        await other.until(1)

        found = rig.worker.attempts.cancel("_INBOX_disp.d.1.1")
        await other.until(3)

        assert (found, kinds(one), frames(other)[1]["code"]) == (True, ["ack"], "cancelled")


async def test_a_cancelled_job_hangs_up_on_the_backend(rig: Rig) -> None:
    """Its stream ends with the reason, and the slot is free: a backend that has begun to speak hears the hang-up."""
    heard = await rig.send(1)
    rig.backend.say("Once")
    await heard.until(2)

    found = rig.worker.attempts.cancel(FIRST)

    await heard.until(4)
    async with asyncio.timeout(GUARD_S):
        await rig.backend.closed.wait()
    assert found is True
    assert (frames(heard)[2]["code"], rig.worker.workload().in_flight) == ("cancelled", 0)


async def test_cancelling_another_attempt_changes_nothing(rig: Rig) -> None:
    """The attempt that runs answers to another subject, and has another number."""
    await rig.deliver("_INBOX_disp.d.0.2", 1, attempt=2)
    heard = Listener()
    await rig.sender.subscribe("_INBOX_disp.d.0.2", heard)
    await rig.backend.started.wait()

    found = rig.worker.attempts.cancel("_INBOX_disp.d.0.1")
    by_hand = rig.worker.attempts.cancel_job("j1", 1)

    rig.backend.finish()
    await heard.until(3)
    assert (found, by_hand, kinds(heard)) == (False, False, ["ack", "end", None])


async def test_a_person_cancels_by_the_jobs_id(rig: Rig) -> None:
    """Nobody who types a command knows the reply subject."""
    heard = await rig.send(1)
    await rig.backend.started.wait()

    found = rig.worker.attempts.cancel_job("j1")

    await heard.until(3)
    assert (found, frames(heard)[1]["code"]) == (True, "cancelled")


async def test_a_job_cancelled_by_its_id_may_come_again(rig: Rig) -> None:
    """A cancellation of what does not run is no spell on all that will ever have that id."""
    found = rig.worker.attempts.cancel_job("j1")
    heard = await rig.send(1)
    rig.backend.finish()

    await heard.until(3)
    assert (found, kinds(heard)) == (False, ["ack", "end", None])


async def test_a_cancellation_that_overtakes_its_job_wins(rig: Rig) -> None:
    """It names the reply subject, so that it can't hit another job."""
    found = rig.worker.attempts.cancel(FIRST)
    heard = await rig.send(1)

    await heard.until(2)
    assert (found, frames(heard)[0]["code"], rig.backend.started.is_set()) == (False, "cancelled", False)


async def test_a_deadline_that_passes_ends_the_job() -> None:
    """The backend is silent; the stream ends all the same."""
    async with opened(clock=HandClock(now_s=1000.0)) as rig:
        heard = await rig.send(1, deadline_ms=1_000_100)  # a tenth of a second is left, whenever the job is taken
        await heard.until(3)

    assert [frame.get("code") for frame in frames(heard)] == [None, "deadline", None]


async def test_a_deadline_that_has_passed_is_refused_before_the_acceptance(rig: Rig) -> None:
    """The message speaks of the clock, since a device's may be wrong."""
    heard = await rig.send(1, deadline_ms=1)

    await heard.until(2)
    assert frames(heard)[0]["code"] == "deadline"
    assert "clock" in frames(heard)[0]["message"]


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0])
async def test_the_time_left_is_by_the_dispatchers_clock(living: Rig, *, skew_s: float) -> None:
    """A device whose clock is an hour off runs a job that has a minute, and ends one that had 0.1 s."""
    sent_ms = int((LoopClock().unix_s() + skew_s) * 1000)
    plenty = await living.send(1, sent_ms=sent_ms, deadline_ms=sent_ms + 60_000)
    await plenty.until(1)
    living.worker.hand_back()
    await plenty.until(3)
    living.backend.say("too late")  # and so its slot is free
    await living.idle()
    short = await living.send(2, sent_ms=sent_ms, deadline_ms=sent_ms + 100)
    await short.until(3)

    assert (frames(plenty)[0]["t"], frames(short)[0]["t"], frames(short)[1]["code"]) == ("ack", "ack", "deadline")


async def test_a_deadline_before_the_sending_is_refused(rig: Rig) -> None:
    """Nothing is begun that was late when it was sent."""
    heard = await rig.send(1, sent_ms=2000, deadline_ms=1000)

    await heard.until(2)
    assert (frames(heard)[0]["code"], "by the dispatcher's clock" in frames(heard)[0]["message"]) == ("deadline", True)


async def test_jobs_that_run_are_handed_back_on_request(rig: Rig) -> None:
    """With an error on which the dispatcher tries another device."""
    heard = await rig.send(1)
    await heard.until(1)

    rig.worker.hand_back()

    await heard.until(3)
    assert (frames(heard)[1]["code"], frames(heard)[1]["retry"]) == ("device_lost", True)


@pytest.mark.parametrize(("loaded", "phase"), [(True, "prefill"), (False, "load")])
async def test_a_silent_backend_is_covered_by_keep_alives(living: Rig, *, loaded: bool, phase: str) -> None:
    """They say load until the first token when the model was not in memory at the start, since Ollama lists a model
    that it is still loading as loaded."""
    living.loaded = loaded
    heard = await living.send(1)
    await living.backend.started.wait()
    living.loaded = True

    await heard.until(2)
    beat = frames(heard)[1]
    assert (beat["t"], beat["phase"]) == ("ka", phase)


async def test_thinking_counts_as_decoding(living: Rig) -> None:
    """Empty text means that the model is at work with nothing to show."""
    living.loaded = False
    heard = await living.send(1)
    living.backend.say("")

    await heard.until(2)
    beat = frames(heard)[1]
    assert (beat["t"], beat["phase"]) == ("ka", "decode")


async def test_a_thought_is_no_first_token(rig: Rig) -> None:
    """The time to the first token is the time to what a person sees: an answer of thoughts alone has none."""
    heard = await rig.send(1)
    rig.backend.say("")
    rig.backend.finish()
    await heard.until(3)
    thought = rig.worker.workload().speeds["m"].first_token_s
    heard = await rig.send(2)
    rig.backend.say("")
    rig.backend.say("Yes")
    rig.backend.finish()
    await heard.until(4)

    assert thought is None
    assert rig.worker.workload().speeds["m"].first_token_s is not None


@pytest.mark.parametrize("began", [False, True])
async def test_a_hanging_backend_is_told_by_its_silence(living: Rig, *, began: bool) -> None:
    """The agent lives and says so each second; each time its backend has been silent for longer, whether it had begun or not."""
    heard = await living.send(1)
    if began:
        living.backend.say("Once upon")

    await heard.until(4)
    first, second = [frame["silent_ms"] for frame in frames(heard) if frame["t"] == "ka"][:2]
    assert first >= 900  # a keep-alive comes after a second, and a test's clock may round
    assert second >= first + 900


async def test_a_thinking_backend_is_not_silent() -> None:
    """It has said nothing for 3 s, then thinks, and the next keep-alive says that it is at work."""
    clock = HandClock()
    async with opened(clock=clock) as rig:
        heard = await rig.send(1)
        await rig.backend.started.wait()
        clock.now_s += 3
        await heard.until(2)
        rig.backend.say("")
        await rig.backend.idle()
        clock.now_s += 1.5
        await heard.until(3)

        assert [frame.get("silent_ms") for frame in frames(heard)] == [None, 3000, 1500]


async def test_a_backend_error_is_the_jobs_error(rig: Rig) -> None:
    """Typed as it was born, and counted as a failure."""
    rig.backend.crash = BackendError("Ollama failed")
    heard = await rig.send(1)

    await heard.until(3)
    assert (frames(heard)[1]["code"], rig.worker.workload().failed) == ("backend", 1)


async def test_a_bug_is_one_jobs_error_and_no_more(rig: Rig) -> None:
    """The next job runs."""
    rig.backend.crash = ZeroDivisionError("a bug")
    first = await rig.send(1)
    await first.until(3)
    rig.backend.crash = None
    second = await rig.send(2)
    rig.backend.finish()
    await second.until(3)

    assert frames(first)[1]["code"] == "internal"
    assert kinds(second) == ["ack", "end", None]


async def test_an_answer_that_breaks_off_is_garbled(rig: Rig) -> None:
    """A backend that stops without saying how has not answered."""
    heard = await rig.send(1)
    rig.backend.say("Half an ans")
    rig.backend.break_off()

    await heard.until(4)
    assert [frame.get("code") for frame in frames(heard)] == [None, None, "garbled", None]


async def test_a_lost_bus_ends_the_work(rig: Rig) -> None:
    """Frames that nobody can receive are no reason to keep the device busy."""
    heard = await rig.send(1)
    await heard.until(1)

    rig.own.disconnect()
    rig.backend.say("text")

    async with asyncio.timeout(GUARD_S):
        await rig.backend.closed.wait()
        await rig.worker.attempts.until_idle()
    assert kinds(heard) == ["ack"]


async def test_a_silent_job_notices_a_lost_bus_by_its_keep_alive(living: Rig) -> None:
    """Also when the backend says nothing; it is hung up on with its first word."""
    heard = await living.send(1)
    await heard.until(1)

    living.own.disconnect()

    async with asyncio.timeout(GUARD_S):
        await living.worker.attempts.until_idle()
        living.backend.say("At last")
        await living.backend.closed.wait()
        await living.idle()
    assert living.worker.workload().in_flight == 0


GARBAGE = [
    b"",
    b"\x00\xff",
    b"not json",
    b"[1]",
    b'"text"',
    b"{}",
    b'{"job":"j9"}',
    b'{"job":"j9","attempt":0,"dispatcher":"d","model":"m","messages":[]}',
    b'{"job":"j9","attempt":1,"dispatcher":"d","model":"m","messages":[{"role":"pirate"}]}',
    b'{"job":"j9","attempt":1,"dispatcher":"d","model":"m","messages":"hi"}',
    b'{"job":"j9","attempt":1,"dispatcher":"d","model":"","messages":[]}',
    b'{"job":"\xff"}',
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b"\x81\xa3job",
    b"\xdf\xff\xff\xff\xff",
    b"\x81\xa3job\xc1",
]


@pytest.mark.parametrize("payload", GARBAGE[1:], ids=lambda payload: repr(payload[:24]))
async def test_garbage_is_answered_with_a_typed_error(rig: Rig, payload: bytes) -> None:
    """It never reaches the backend, and the next job runs."""
    heard = await rig.send(payload=payload)
    await heard.until(2)
    good = await rig.send(2)
    rig.backend.finish()
    await good.until(3)

    assert [frame.get("code") for frame in frames(heard)] == ["bad_request", None]
    assert kinds(good) == ["ack", "end", None]


async def test_an_empty_dispatch_is_answered_with_a_typed_error(rig: Rig) -> None:
    """An operator who types a bare request gets told what is missing."""
    reply = Listener()
    await rig.sender.subscribe("_INBOX_disp.empty", reply)

    await rig.sender.publish(JOB, b"", reply="_INBOX_disp.empty")

    await reply.until(2)
    assert frames(reply)[0]["code"] == "bad_request"


async def test_a_job_without_a_reply_subject_is_not_run(rig: Rig) -> None:
    """Nobody could hear its answer."""
    await rig.sender.publish(JOB, codec.encode({"job": "j1", "attempt": 1, "dispatcher": "d", "model": "m"}))

    await settled(rig.sender, rig.own)
    assert (rig.backend.started.is_set(), rig.worker.workload().refused) == (False, 1)


async def test_every_change_of_the_load_is_announced(rig: Rig) -> None:
    """A job taken, and a job ended: two reasons for a heartbeat."""
    heard = await rig.send(1)
    rig.backend.finish()
    await heard.until(3)

    assert rig.changes == 2
