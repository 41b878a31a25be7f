"""Durable jobs from submission to result, with dispatchers in this process and a real server with its store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common import codec
from common.bus.jetstream import JetStream
from common.bus.nats import NatsOptions, connect_nats
from common.client import chat_request
from common.codec import Encoding
from common.durable import Note, Stage, encode_note
from common.durable_client import DurableJobs
from common.errors import (
    BackendError,
    BadRequest,
    DuplicateJob,
    QueueFull,
    StreamsUnavailable,
    UnknownJob,
    UnsupportedByModel,
)
from common.messages import ChatRequest, DeviceState, Message, ModelInfo, Priority, Role, Speed
from dispatcher.app import dispatcher
from dispatcher.durable.claims import Claims, claim_key
from dispatcher.durable.notes import Notes
from dispatcher.durable.reading import Origin
from dispatcher.durable.run import DurableRun
from dispatcher.durable.service import DurableLane
from tests.integration.dispatcher.house import nats_wires, open_house
from tests.integration.dispatcher.scripted import Hold, answer, fail, ignore, stall, until
from tests.integration.durable.world import World, dispatching, durable_settings, eventually, world
from tests.nats_server import nats_server

ANSWER = answer("all ", "of it")
BIG = ModelInfo(name="big:70b", size_bytes=10**9, loaded=True)


async def test_a_job_is_answered_and_acknowledged() -> None:
    """The result stands under the job's id, with text, device and route, and the queue is empty."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            job = await here.submit("hi")
            note = await here.over(job)
            await here.empty()

    assert note.answer is not None
    assert (Stage.DONE, "all of it", "nano", 1) == (note.state, note.answer["text"], note.answer["device"], note.tries)


async def test_a_durable_job_keeps_its_allow_lists() -> None:
    """They lie in the stream with it: one goes where it may, and what may go nowhere fails for good and says why."""
    async with world() as here:
        other = await here.device("other", answer("no"))
        await here.device("mine", answer("mine"), temperature_c=89.0)
        async with dispatching(here):
            done = await here.over(await here.submit("hi", allow_devices=("mi*",)))
            never = await here.over(await here.submit("hi", allow_models=("gemma*",)))
            await here.empty()

    assert (done.answer or {}).get("device") == "mine"
    assert (0, "not_allowed") == (len(other.attempts), (never.error or {}).get("code"))


async def test_a_doubted_answer_of_a_durable_job_goes_up() -> None:
    """With strategy `cascade` the result holds the strong answer alone, and tells of both."""
    small = ModelInfo(name="llama3.2:1b", size_bytes=10**9, parameters_b=1.2, loaded=True)
    large = ModelInfo(name="qwen2.5:14b", size_bytes=9 * 10**9, parameters_b=14.8, loaded=True)
    async with world() as here:
        await here.device("pi", answer("12 + 7 = 21."), models=(small,))
        await here.device("orin", answer("12 + 7 = 19."), models=(large,), speeds={large.name: Speed(decode_tps=99.0)})
        async with dispatching(here):
            note = await here.over(await here.submit("12 apples and 7 more?", strategy="cascade"))
            await here.empty()

    assert note.answer is not None
    told = note.answer["route"]["cascade"]
    assert ("12 + 7 = 19.", "orin", "pi") == (note.answer["text"], note.answer["device"], told["weak"]["device"])


async def test_the_same_id_again_is_the_same_job() -> None:
    """A producer that is not sure submits again: one job, one result, and it is told so."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with dispatching(here):
            first = await here.submitted("hi", job="mine")
            await here.over("mine")
            again = await here.submitted("hi", job="mine")
            await here.empty()

    assert (False, True, first.seq, 1) == (first.known, again.known, again.seq, len(device.attempts))


async def test_two_tenants_may_use_the_same_id() -> None:
    """Each has its own job, and its own result."""
    async with world() as here:
        device = await here.device("nano", ANSWER, slots=4)
        async with dispatching(here):
            for tenant in ("one", "two"):
                await here.jobs.submit(chat_request("hi", job="mine"), tenant=tenant)
            notes = [await here.jobs.result("mine", wait_s=20.0, tenant=tenant) for tenant in ("one", "two")]

    assert ([("one", Stage.DONE), ("two", Stage.DONE)], 2) == (
        [(note.tenant, note.state) for note in notes],
        len(device.attempts),
    )


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [({"Nx-Job": "from-header"}, "from-header"), ({"Nats-Msg-Id": "stored.once"}, "stored_once-")],
)
async def test_a_foreign_producer_names_the_job_in_a_header(headers: dict[str, str], wanted: str) -> None:
    """`nats pub` with a header is enough; a name that is no token keeps its readable part."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.streams.publish("llm.v1.jobs.default.normal", b'{"prompt":"hi"}', headers=headers)
            await here.empty()
        results = [kept.subject async for kept in here.kept(here.names.results, "llm.v1.result.>")]

    assert {wanted} == {subject.removeprefix("llm.v1.result.default.")[: len(wanted)] for subject in results}


async def test_an_id_is_minted_once() -> None:
    """A job that nobody named has the same id at each delivery: it is tried twice, and all notes are on one subject."""
    async with world() as here:
        await here.device("nano", fail(BackendError("no")), ANSWER)
        async with dispatching(here):
            await here.streams.publish("llm.v1.jobs.default.normal", b'{"prompt":"hi"}')
            await here.empty()
        subjects = {kept.subject async for kept in here.kept(here.names.results, "llm.v1.result.>")}
        states = [kept async for kept in here.kept(here.names.results, "llm.v1.result.>")]

    assert 1 == len(subjects)
    assert "done" == codec.decode(states[-1].data)["state"]


async def test_nothing_is_pulled_without_a_slot() -> None:
    """Ten jobs for one slot: while the first runs, no more than the class's one standing request brought has left the queue."""
    async with world() as here:
        hold = Hold(then=ANSWER)
        await here.device("nano", hold, ANSWER)
        async with dispatching(here):
            jobs = [await here.submit(f"{number}") for number in range(10)]
            await hold.reached.wait()
            taken = await here.info()
            hold.released.set()
            states = [(await here.over(job)).state for job in jobs]

    assert [Stage.DONE] * 10 == states
    assert taken["num_ack_pending"] <= 2


async def test_higher_classes_go_first() -> None:
    """What was submitted last in a higher class is answered before all that waited in lower ones."""
    async with world() as here:
        hold = Hold(then=ANSWER)
        device = await here.device("nano", ANSWER)
        async with dispatching(here):
            pass
        device._scripts = [hold, ANSWER]
        jobs = {
            priority: [await here.submit(priority, priority=priority) for _ in range(3)]
            for priority in reversed(Priority)
        }
        hold.released.set()
        async with dispatching(here):
            for wave in jobs.values():
                for job in wave:
                    await here.over(job)
        order = [str(attempt.dispatch.messages[-1].content) for attempt in device.attempts]

    assert ["interactive"] * 3 + ["normal"] * 3 + ["batch"] * 3 == order


async def test_another_request_under_the_same_id_is_refused() -> None:
    """While it lies in the queue, while it runs, and when it is over; the same one again, in whatever form, adds nothing."""
    form = ChatRequest(messages=(Message(role=Role.USER, content="one"),), job="mine", timeout_s=60.0)
    async with world() as here, dispatching(here):
        told = [await here.jobs.submit(ChatRequest(prompt="one", job="mine")), await here.jobs.submit(form)]
        await _refused(here)
        hold = Hold(then=ANSWER)
        await here.device("nano", hold)
        await hold.reached.wait()
        await eventually(lambda: _state(here, "mine"), Stage.RUNNING, "it is told that it runs")
        told.append(await here.jobs.submit(form))
        await _refused(here)
        hold.released.set()
        await here.over("mine")
        await here.empty()
        told.append(await here.jobs.submit(form))
        await _refused(here)

    assert [False, True, True, True] == [one.known for one in told]
    assert [Stage.QUEUED, Stage.QUEUED, Stage.RUNNING, Stage.DONE] == [one.state for one in told]


async def test_an_id_is_known_for_as_long_as_its_result_is_kept() -> None:
    """The server has forgotten the id of a job that somebody has stored without one; its result is there still."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.streams.publish("llm.v1.jobs.default.normal", b'{"prompt":"one","job":"mine"}')
            await here.over("mine")
            again = await here.jobs.submit(ChatRequest(prompt="one", job="mine"))
            await _refused(here)
            await here.empty()

    assert (True, Stage.DONE, 1) == (again.known, again.state, len(device.attempts))


async def test_a_result_of_an_older_dispatcher_is_taken_for_the_same() -> None:
    """Its notes don't say what was asked: whoever sends the id again gets what stands there."""
    async with world() as here, dispatching(here):
        note = Note(job="mine", tenant="default", state=Stage.DONE, at_unix_s=1.0, answer={"text": "old"})
        await here.streams.publish("llm.v1.result.default.mine", encode_note(note))
        again = await here.jobs.submit(ChatRequest(prompt="whatever", job="mine"))

    assert (True, Stage.DONE) == (again.known, again.state)


async def test_what_has_no_form_in_json_is_answered() -> None:
    """A job in MessagePack may hold bytes: there is no name for what it asks, and that stops nothing."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            wire = {"prompt": "one", "job": "mine", "tools": [{"type": "function", "function": {"blob": b"\xff"}}]}
            await here.streams.publish("llm.v1.jobs.default.normal", codec.encode(wire, Encoding.MSGPACK))
            note = await here.over("mine")

    assert (True, None) == (note.final, note.fingerprint)


async def _refused(here: World) -> None:
    with pytest.raises(DuplicateJob, match="mine"):
        await here.jobs.submit(ChatRequest(prompt="other", job="mine"))


async def _state(here: World, job: str) -> Stage:
    return (await here.jobs.look(job)).state


@pytest.mark.parametrize(
    "request_", [ChatRequest(), ChatRequest(prompt=" "), ChatRequest(prompt="a", messages=(Message(role=Role.USER),))]
)
async def test_what_can_not_be_answered_is_not_queued(request_: ChatRequest) -> None:
    """As the live door refuses it, at once."""
    async with world() as here:
        with pytest.raises(BadRequest, match="prompt"):
            await here.jobs.submit(request_)


async def test_a_job_with_a_secret_is_not_queued() -> None:
    """A provider's key must not lie on a disk; who puts it there past the client gets no answer with it."""
    async with world() as here:
        async with dispatching(here):
            await here.device("nano", ANSWER)
            with pytest.raises(BadRequest, match="lies on a disk"):
                await here.jobs.submit(ChatRequest(prompt="hi", provider_key="sk-1234567890"))
            wire = {"prompt": "hi", "job": "mine", "provider_key": "sk-1234567890"}
            await here.streams.publish("llm.v1.jobs.default.normal", codec.encode(wire))
            note = await here.over("mine")

        assert (note.state, note.failure.code if note.failure else None) == (Stage.FAILED, "bad_request")


async def test_a_full_queue_refuses() -> None:
    """The producer gets a typed error, and what lies in the queue is answered."""
    async with world() as here:
        hold = Hold(then=ANSWER)
        await here.device("nano", hold, ANSWER)
        async with dispatching(here, queue_limit=3):
            first = await here.submit("0")
            await hold.reached.wait()
            jobs = [first, await here.submit("1"), await here.submit("2")]
            with pytest.raises(QueueFull, match="DROVER_DURABLE_QUEUE_LIMIT"):
                await here.submit("3")
            hold.released.set()
            states = [(await here.over(job)).state for job in jobs]

    assert [Stage.DONE] * 3 == states


async def test_a_failure_is_tried_again_later() -> None:
    """Nobody sees it but in the notes: the first try failed, the second answered."""
    async with world() as here:
        await here.device("nano", fail(BackendError("the engine broke")), ANSWER)
        async with dispatching(here):
            job = await here.submit()
            note = await here.over(job)
            notes = await here.notes(job)

    assert (Stage.DONE, 2) == (note.state, note.tries)
    assert [Stage.RETRYING] == [one.state for one in notes if one.failure is not None]


async def test_a_bad_job_is_a_dead_letter_at_once() -> None:
    """One delivery, one letter with the reason and what was sent, one final note with the same error, and an empty queue."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.streams.publish(
                "llm.v1.jobs.default.normal", b'{"prompt":"hi","nonsense":1}', headers={"Nx-Job": "bad"}
            )
            await here.empty()
            note = await here.jobs.look("bad")
            letter = await here.letter()

    assert note.error is not None
    assert (Stage.FAILED, "bad_request", "bad_request", 1, {"prompt": "hi", "nonsense": 1}) == (
        note.state,
        note.error["code"],
        letter.reason,
        letter.tries,
        letter.payload,
    )


async def test_garbage_is_a_dead_letter_too() -> None:
    """Bytes that are no object are kept as they are."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.streams.publish("llm.v1.jobs.default.batch", b"\xff\x00", headers={"Nx-Job": "bad"})
            await here.empty()
            letter = await here.letter()

    assert ("bad_request", None, "ff00", "batch") == (letter.reason, letter.payload, letter.raw, letter.priority)


async def test_a_job_that_always_fails_is_a_dead_letter_after_its_tries() -> None:
    """As many tries as the setting says, then a letter with the last error."""
    async with world() as here:
        device = await here.device("nano", fail(BackendError("the engine broke")))
        async with dispatching(here, tries=3):
            job = await here.submit()
            note = await here.over(job)
            await here.empty()
            letter = await here.letter()

    assert (3, Stage.FAILED, "exhausted", 3) == (len(device.attempts), note.state, letter.reason, letter.tries)
    assert letter.error is not None


async def test_what_the_model_can_not_do_is_not_tried_again() -> None:
    """The request would be at fault again."""
    async with world() as here:
        device = await here.device("nano", fail(UnsupportedByModel("no tools")))
        async with dispatching(here):
            note = await here.over(await here.submit())
            letter = await here.letter()

    assert (1, Stage.FAILED, "unsupported") == (len(device.attempts), note.state, letter.reason)


async def test_a_deadline_that_passed_in_the_queue() -> None:
    """Nobody wants the answer any more: a letter, and no device was asked."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with dispatching(here):
            pass
        job = await here.submit(deadline_ms=1)
        async with dispatching(here):
            note = await here.over(job)
            letter = await here.letter()

    assert note.error is not None
    assert ("deadline", "deadline", 0) == (letter.reason, note.error["code"], len(device.attempts))


async def test_cancelling_a_running_job() -> None:
    """Its device is told, its result is `cancelled`, and it is not delivered again."""
    async with world() as here:
        device = await here.device("nano", ignore)
        async with dispatching(here):
            job = await here.submit()
            await device.attempt()
            known = await here.jobs.cancel(job)
            note = await here.over(job)
            await here.empty()

    assert (True, Stage.CANCELLED, 1) == (known, note.state, len(device.attempts))


async def test_cancelling_a_queued_job() -> None:
    """It lies behind another one, nobody has touched it: it is taken out, and never runs. The order names no tenant."""
    async with world() as here:
        hold = Hold(then=ANSWER)
        device = await here.device("nano", hold, ANSWER)
        async with dispatching(here):
            first = await here.submit("first")
            await hold.reached.wait()
            jobs = [await here.submit(f"{number}") for number in range(6)]
            replies = [await here.order(jobs[-1]), {"cancelled": await here.jobs.cancel(jobs[-2])}]
            hold.released.set()
            states = [(await here.over(job)).state for job in (first, *jobs)]
            await here.empty()

    assert [True, True] == [reply["cancelled"] for reply in replies]
    assert [Stage.DONE] * 5 + [Stage.CANCELLED] * 2 == states
    assert 5 == len(device.attempts)


async def test_cancelling_a_job_that_is_about_to_begin() -> None:
    """One dispatcher has claimed it and runs it not yet: it takes the order, whoever else hears it."""
    async with world() as here, dispatching(here) as pipeline:  # without a device nobody pulls
        durable, spawn = durable_settings().durable, here.tasks.create_task
        other = DurableLane(here.bus, pipeline, durable, room=lambda: 0, spawn=spawn)
        async with other.open(), here.streams.puller(here.names.jobs, Priority.NORMAL) as puller:
            job = await here.submit()
            (pulled,) = await puller.fetch(1, wait_s=5.0)
            notes = Notes(here.streams, here.names, here.subjects, "default", job)
            run = DurableRun(pulled, Origin("default", Priority.NORMAL), job, notes)
            run.claim = await other.lane.claims.take(run.key, seq=pulled.kept.seq)
            other.lane.runs[run.key] = run
            replies = [await here.order(job) for _ in range(6)]

    assert [True] * 6 == [reply["cancelled"] for reply in replies]
    assert run.cancelled


async def test_cancelling_what_is_over() -> None:
    """It says so, and the result stays; a job that never was is an error."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            job = await here.submit()
            await here.over(job)
            late = await here.jobs.cancel(job)
            state = (await here.jobs.look(job)).state
            with pytest.raises(UnknownJob):
                await here.jobs.cancel("never-was")

    assert (False, Stage.DONE) == (late, state)


async def test_looking_at_a_queued_job() -> None:
    """Also one that somebody else has submitted, and that no dispatcher has touched."""
    async with world() as here:
        async with dispatching(here):
            pass
        await here.submit("other")
        await here.streams.publish("llm.v1.jobs.default.batch", b'{"prompt":"hi","job":"theirs"}')
        note = await here.jobs.look("theirs")

    assert Stage.QUEUED == note.state


async def test_a_job_far_back_in_the_queue_is_found() -> None:
    """Behind more than 20,000 others, by somebody who did not submit it; the order to cancel then says where it lies."""
    async with world() as here:
        async with dispatching(here):
            pass
        async with asyncio.TaskGroup() as tasks:
            for _ in range(16):
                tasks.create_task(_fill(here, 1_300))
        await here.submit("far", job="far", priority=Priority.BATCH)
        other = DurableJobs(here.bus, here.streams, tenant="default", subjects=here.subjects)
        state = (await other.look("far")).state
        orders: list[bytes] = []
        await here.bus.subscribe(
            here.subjects.control("far", "cancel", "default"), lambda order: orders.append(order.data)
        )
        async with dispatching(here):
            cancelled = await other.cancel("far")
            end = (await here.over("far")).state

    assert (Stage.QUEUED, True, Stage.CANCELLED) == (state, cancelled, end)
    assert [20_801] == [codec.decode(order)["seq"] for order in orders]


async def _fill(here: World, number: int) -> None:
    for _ in range(number):
        await here.streams.publish("llm.v1.jobs.default.normal", b'{"prompt":"hi"}')


async def test_events_go_on_where_a_reader_stopped() -> None:
    """From any number on, each note once and in order, the final one last; also what comes while reading."""
    async with world() as here:
        hold = Hold("some ", then=ANSWER)
        await here.device("nano", hold)
        async with dispatching(here):
            job = await here.submit()
            await hold.reached.wait()
            await eventually(lambda: _count(here, job), 1, "the job's progress is told")
            head = [event async for event in _first(here, job)]
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(_rest(here, job, after=head[0].seq))
                hold.released.set()
            rest = reading.result()

    assert ([Stage.RUNNING], [Stage.DONE]) == ([event.note.state for event in head], [note.state for note in rest])


async def _count(here: World, job: str) -> int:
    return len(await here.notes(job))


async def _first(here: World, job: str):  # type: ignore[no-untyped-def]  # events, ended after the first
    async for event in here.jobs.events(job):
        yield event
        return


async def _rest(here: World, job: str, *, after: int) -> list[Note]:
    return [event.note async for event in here.jobs.events(job, after=after)]


async def test_without_streams_the_live_lane_goes_on() -> None:
    """A server without JetStream: one line in the log, chats are answered, and a submission gets a clear error."""
    async with open_house(nats_wires, durable=True) as house:
        await house.device("nano", ANSWER)
        reply = await (await house.ask()).reply()
        with pytest.raises(StreamsUnavailable):
            await World(None, house.world, house._tasks).submit()  # type: ignore[arg-type]  # its server is not asked

    assert "all of it" == reply["text"]


async def test_a_stopping_dispatcher_hands_its_jobs_back() -> None:
    """What runs longer than the grace is given to another dispatcher at once, without waiting for the ack to be overdue."""
    async with world() as here:
        hold = Hold("some ", then=ANSWER)
        device = await here.device("nano", hold, ANSWER)
        async with dispatching(here, ack_wait_s=120.0):
            job = await here.submit()
            await hold.reached.wait()
        hold.released.set()
        async with dispatching(here, ack_wait_s=120.0):
            note = await here.over(job)
            await here.empty()

    assert (Stage.DONE, 1, 2) == (note.state, note.tries, len(device.attempts))


async def test_a_job_has_the_time_that_it_asked_for() -> None:
    """The device hears the job's own deadline, also when that is later than a live request's would be."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.over(await here.submit(timeout_s=3600.0))
    dispatch = device.attempts[0].dispatch
    left_s = ((dispatch.deadline_ms or 0) - (dispatch.sent_ms or 0)) / 1000

    assert 3000.0 < left_s <= 3600.0


async def test_a_try_that_takes_too_long() -> None:
    """It counts as failed, its device is told, and the job is tried again."""
    async with world() as here:
        device = await here.device("nano", stall("some "), ANSWER)
        async with dispatching(here, try_s=0.5):
            job = await here.submit()
            note = await here.over(job)
            (again,) = [one for one in await here.notes(job) if one.state is Stage.RETRYING]

    assert again.error is not None
    assert (Stage.DONE, 2, "deadline", [(job, 1)]) == (note.state, note.tries, again.error["code"], device.cancels)


async def test_the_wait_for_a_device_is_no_part_of_a_try() -> None:
    """The job's device is busy for longer than a try may take; then it is answered at once, in its first try."""
    async with world() as here:
        hold = Hold(then=ANSWER)
        device = await here.device("nano", hold, ANSWER)
        await here.device("free", ANSWER)
        async with dispatching(here, try_s=0.5) as pipeline:
            inbox = here.bus.new_inbox()
            await here.bus.publish("llm.v1.chat.default", b'{"prompt":"live","device":"nano"}', reply=inbox)
            await hold.reached.wait()
            job = await here.submit(device="nano")
            await eventually(lambda: _waits(here, job), True, "it stands in the line")
            begun_s = pipeline.clock.monotonic()
            await until(lambda: pipeline.clock.monotonic() - begun_s > 1.0, "a try would be over")
            hold.released.set()
            note = await here.over(job)

    assert (Stage.DONE, 1, 2) == (note.state, note.tries, len(device.attempts))


async def _waits(here: World, job: str) -> bool:
    return any(note.state is Stage.QUEUED for note in await here.notes(job))


async def test_restarts_use_up_no_tries() -> None:
    """A job that is longer than every dispatcher lives is handed on more often than it may be tried, and then answered."""
    async with world() as here:
        holds = [Hold("some ", then=ANSWER) for _ in range(3)]
        device = await here.device("nano", *holds, ANSWER, slots=8)
        job = ""
        for hold in holds:
            async with dispatching(here, tries=2):
                job = job or await here.submit()
                await hold.reached.wait()
        async with dispatching(here, tries=2):
            note = await here.over(job)
        letters = await here.letters()
        for hold in holds:
            hold.released.set()

    assert (Stage.DONE, 1, 4, []) == (note.state, note.tries, len(device.attempts), letters)


async def test_a_fleet_without_room_uses_up_no_tries() -> None:
    """The device with the model comes when the job was delivered more often than it may be tried. Why it waits is told once."""
    async with world() as here:
        await here.device("other", ANSWER)
        await here.device("slow", ANSWER, state=DeviceState.STARTING)  # and may be the one that has it
        async with dispatching(here, tries=2):
            job = await here.submit(model="big:70b")
            await eventually(lambda: _deliveries(here, 6), True, "it was handed back again and again")
            late = await here.device("late", ANSWER, models=(BIG,))
            note = await here.over(job)
            waits = [one for one in await here.notes(job) if one.state is Stage.RETRYING]

    assert (Stage.DONE, 1, 1, 1) == (note.state, note.tries, len(late.attempts), len(waits))


async def test_a_misspelt_model_is_given_up() -> None:
    """The job says first what it waits for; in a fleet that does not change it is soon a dead letter."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here, steady_s=1.0):
            job = await here.submit(model="lama3.2:1b")
            note = await here.over(job)
            first = (await here.notes(job))[0]
            letter = await here.letter()

    assert (Stage.FAILED, "unknown_model", "unknown_model") == (note.state, (note.error or {})["code"], letter.reason)
    assert "the model 'lama3.2:1b' (known: llama3.2:1b); waiting" in (first.error or {})["message"]


async def test_a_misspelt_device_is_given_up() -> None:
    """The job says first what it waits for; where the other devices are the same for long, it is a dead letter, and says why."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here, steady_s=1.0):
            job = await here.submit(device="nosuch")
            note = await here.over(job)
            first = (await here.notes(job))[0]
            letter = await here.letter()

    assert (Stage.FAILED, "unknown_device", "unknown_device") == (note.state, (note.error or {})["code"], letter.reason)
    assert "there is no device 'nosuch': known are nano" == (note.error or {})["message"]
    assert "there is no device 'nosuch' (known: nano); waiting for it" == (first.error or {})["message"]


async def test_a_device_that_was_not_there_yet_gets_its_job() -> None:
    """It comes before the time is over after which it would count as misspelt."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here, steady_s=60.0):
            job = await here.submit(device="late")
            await eventually(lambda: _deliveries(here, 4), True, "it was handed back again and again")
            await here.device("late", ANSWER)
            note = await here.over(job)

    assert (Stage.DONE, "late") == (note.state, (note.answer or {})["device"])


async def test_a_job_whose_time_is_over_says_what_it_waited_for() -> None:
    """The last cause is in its error, in words and as a code."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            note = await here.over(await here.submit(device="nosuch", timeout_s=1.0))
    error = note.error or {}

    assert ("deadline", "unknown_device", "nosuch") == (
        error["code"],
        error["details"]["cause"],
        error["details"]["device"],
    )
    assert "there is no device 'nosuch' (known: nano); waiting for it" in error["message"]


ABSENCES: list[dict[str, Any]] = [
    {"state": DeviceState.FAULTY, "models": (), "reason": "no engine yet"},
    {"models": ()},
]


@pytest.mark.parametrize("beat", ABSENCES, ids=["faulty", "empty"])
async def test_a_device_that_boots_gets_its_jobs(beat: dict[str, Any]) -> None:
    """Its agent is up before its engine: jobs for its model outlast the time after which a misspelt one would be given up."""
    async with world() as here:
        await here.device("nano", ANSWER)
        slow = await here.device("slow", ANSWER, **beat)
        async with dispatching(here, steady_s=0.3):
            job = await here.submit(model="big:70b")
            await eventually(lambda: _deliveries(here, 8), True, "it was handed back again and again")
            await slow.beat(state=DeviceState.READY, models=(BIG,))
            note = await here.over(job)

    assert (Stage.DONE, "slow") == (note.state, (note.answer or {})["device"])


async def test_a_device_that_comes_late_gets_its_jobs() -> None:
    """After a power cut the fast device is up first, and its dispatcher with it; the other one was never heard yet."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here, steady_s=60.0):
            job = await here.submit(model="big:70b")
            await eventually(lambda: _deliveries(here, 4), True, "it was handed back again and again")
            await here.device("late", ANSWER, models=(BIG,))
            note = await here.over(job)

    assert Stage.DONE == note.state


async def _deliveries(here: World, enough: int) -> bool:
    """Each delivery has a number of its own in the consumer."""
    return int((await here.info())["delivered"]["consumer_seq"]) >= enough


async def test_redelivered_with_its_result_stored_is_only_acknowledged() -> None:
    """The crash between the two is played by a message that comes after the result: no device is asked again."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with dispatching(here):
            await here.over(await here.submit("hi", job="mine"))
            await here.streams.publish("llm.v1.jobs.default.normal", b'{"prompt":"hi","job":"mine"}')
            await here.empty()
            notes = await here.notes("mine")

    assert (1, [Stage.DONE]) == (len(device.attempts), [note.state for note in notes if note.final])


async def test_a_second_message_of_a_running_job_is_dropped() -> None:
    """Sent again when the server has forgotten the id: the job runs on, however long, and its answer is the result."""
    async with world() as here:
        hold = Hold("some ", then=ANSWER)
        device = await here.device("nano", hold, ANSWER, slots=4)
        async with dispatching(here, tries=2, ack_wait_s=0.5), dispatching(here, tries=2, ack_wait_s=0.5):
            await here.submit(job="mine")
            await hold.reached.wait()
            for _ in range(4):  # whichever dispatcher gets them
                await here.streams.publish("llm.v1.jobs.default.normal", b'{"prompt":"hi","job":"mine"}')
            await eventually(here.queued, 1, "the others are gone")
            hold.released.set()
            note = await here.over("mine")
            letters = await here.letters()

    assert (Stage.DONE, 1, []) == (note.state, len(device.attempts), letters)


async def test_a_claim_that_was_left_over() -> None:
    """Its holder is done with it and could not give it up: the job's next life begins all the same."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here, tries=2, ack_wait_s=0.5):
            ghost = Claims(here.streams.bucket(here.names.claims), "ghost")
            await ghost.take(claim_key("default", "mine"), seq=1000)
            note = await here.over(await here.submit(job="mine"))

    assert Stage.DONE == note.state


async def test_of_two_messages_for_a_job_one_stays() -> None:
    """The second comes while the first is not claimed yet, and may turn out to be a dead dispatcher's job: both stay until then."""
    async with world() as here, dispatching(here) as pipeline:  # without a device nobody pulls
        durable, spawn = durable_settings().durable, here.tasks.create_task
        other = DurableLane(here.bus, pipeline, durable, room=lambda: 0, spawn=spawn)
        async with here.streams.puller(here.names.jobs, Priority.NORMAL) as puller:
            for _ in range(2):
                await here.streams.publish("llm.v1.jobs.default.normal", b'{"prompt":"hi","job":"mine"}')
            first, second = await puller.fetch(2)
            notes = Notes(here.streams, here.names, here.subjects, "default", "mine")
            run = DurableRun(first, Origin("default", Priority.NORMAL), "mine", notes)
            other.lane.runs[run.key] = run
            left = []
            for claim in (None, await other.lane.claims.take(run.key, seq=first.kept.seq)):
                run.claim = claim
                async with asyncio.TaskGroup() as taking:
                    other.lane.begin(second, taking.create_task)
                left.append(await here.queued())

    assert [2, 1] == left


async def test_a_live_job_of_the_same_id_is_left_alone() -> None:
    """A producer talks live under an id that a durable job has too: both get their own answer."""
    async with world() as here:
        hold = Hold("live ", then=ANSWER)
        device = await here.device("nano", hold, ANSWER, slots=4)
        async with dispatching(here) as pipeline:
            inbox = here.bus.new_inbox()
            replies: list[bytes] = []
            await here.bus.subscribe(inbox, lambda delivery: replies.append(delivery.data))
            await here.bus.publish("llm.v1.chat.default", b'{"prompt":"live","job":"mine"}', reply=inbox)
            await hold.reached.wait()
            await here.submit("durable", job="mine")
            await eventually(lambda: _redelivered(here), True, "the durable job was handed back")
            hold.released.set()
            await until(lambda: bool(replies), "the live answer")
            note = await here.over("mine")
            await until(lambda: pipeline.running == 0, "all is over")

    assert (Stage.DONE, 2) == (note.state, len(device.attempts))
    assert "live all of it" == codec.decode(replies[0])["text"]


async def _redelivered(here: World) -> bool:
    return bool((await here.info())["num_redelivered"])


async def test_a_server_without_room_leaves_the_live_lane_alone() -> None:
    """Its disk has no place for the queue: the dispatcher goes on with chats, and takes jobs no more than before."""
    async with (
        nats_server(jetstream=True) as server,
        connect_nats(NatsOptions(urls=(server.url,), name="disp")) as bus,
        dispatcher(durable_settings(queue_limit_bytes=1 << 60), bus) as pipeline,
    ):
        stored = await asyncio.gather(
            JetStream(bus).publish("llm.v1.jobs.default.normal", b"{}"), return_exceptions=True
        )
        alive = bus.connected, pipeline.running

    assert ((True, 0), [StreamsUnavailable]) == (alive, [type(one) for one in stored])
