"""Durable jobs over crashes: dispatchers that are real processes and die, a server that is killed; nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from common.bus.streams import ConsumerSpec
from common.durable import Stage, read_note
from common.errors import BusError
from common.messages import Priority
from dispatcher.durable.claims import Claims
from dispatcher.durable.verdict import LOSSES_PER_TRY
from tests.commands import Running
from tests.integration.dispatcher.scripted import Hold, answer, until
from tests.integration.durable.world import (
    World,
    dispatcher_process,
    dispatching,
    eventually,
    world,
)

ANSWER = answer("all ", "of it")
MANY = 300


async def test_a_killed_dispatchers_job_is_finished_by_another(tmp_path: Path) -> None:
    """SIGKILL in mid-job: the other one has it after the ack wait, and there is one result."""
    async with world() as here:
        hold = Hold("some ", then=ANSWER)
        device = await here.device("nano", hold, ANSWER, slots=4)
        async with dispatcher_process(here, tmp_path) as first:
            await first.until("durable.ready")
            await device.beat()
            job = await here.submit()
            await hold.reached.wait()
            await _killed_at(here, first, job, 1)
        async with dispatching(here):
            note = await here.over(job)
            await here.empty()
            finals = [one for one in await here.notes(job) if one.final]

    assert (Stage.DONE, 2, 1) == (note.state, note.tries, len(finals))


async def test_a_frozen_dispatcher_tells_nothing_when_it_wakes(tmp_path: Path) -> None:
    """SIGSTOP in mid-job: another one answers; the first, woken, finds its claim gone and adds no second result."""
    async with world() as here:
        hold = Hold("some ", then=ANSWER)
        device = await here.device("nano", hold, ANSWER, slots=4)
        async with dispatcher_process(here, tmp_path) as first:
            await first.until("durable.ready")
            await device.beat()
            job = await here.submit()
            await hold.reached.wait()
            first.signal(signal.SIGSTOP)
            try:
                async with dispatching(here):
                    note = await here.over(job)
                    hold.released.set()
                    await here.empty()
            finally:
                first.signal(signal.SIGCONT)
            await first.until("durable.(lost|known|interrupted)|bus.lost|job.done")
            second = await here.submit("again")  # it lives, and works on
            await here.over(second)
            finals = [one for one in await here.notes(job) if one.final]

    assert (Stage.DONE, 1) == (note.state, len(finals))


async def test_a_killed_server_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Kill -9 of nats-server three times while some hundred jobs are submitted and run: each has exactly one result."""
    async with world() as here:
        device = await here.device("nano", ANSWER, slots=8)
        async with dispatcher_process(here, tmp_path) as one:
            await one.until("durable.ready")
            await device.beat()
            await here.over(await here.submit("warm", job="warm"))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_submit_all(here))
                beating = tasks.create_task(_beat(device))
                for share in (0.25, 0.5, 0.75):
                    await until(lambda share=share: len(device.attempts) > MANY * share, "some of them ran")  # type: ignore[misc]
                    await here.server.kill()
                    await here.server.restart()
                await eventually(lambda: _finals(here), MANY + 1, "all have results")
                await here.empty()
                beating.cancel()
            results = Counter()  # type: ignore[var-annotated]
            async for kept in here.kept(here.names.results, here.subjects.result("*", "*")):
                note = read_note(kept)
                if note.final:
                    results[note.job, note.state] += 1

    assert {(f"job-{number}", Stage.DONE): 1 for number in range(MANY)} | {("warm", Stage.DONE): 1} == dict(results)


async def _submit_all(here: World) -> None:
    for number in range(MANY):
        await here.submit(f"{number}", job=f"job-{number}")


async def _beat(device) -> None:  # type: ignore[no-untyped-def]
    """Heartbeats as a device sends them, over the loss of connections."""
    while True:
        try:
            await device.beat()
        except BusError:
            pass  # the next one
        await asyncio.sleep(0.2)


async def _finals(here: World) -> int:
    count, seq = 0, 1
    while (kept := await here.streams.next(here.names.results, here.subjects.result("*", "*"), seq)) is not None:
        count += read_note(kept).final
        seq = kept.seq + 1
    return count


@pytest.mark.parametrize(("tries", "server_too"), [(2, False), (1, True)], ids=["dispatchers", "and the server"])
async def test_a_job_that_kills_its_dispatchers_is_a_dead_letter(tmp_path: Path, tries: int, server_too: bool) -> None:
    """Each of its tries ends with the dispatcher, and perhaps the claim with the server: what was told of a try counts it.
    The next one buries it, with what is known of it, and goes on."""
    async with world() as here:
        device = await here.device("nano", *[Hold() for _ in range(tries)], ANSWER, slots=4)
        job = ""
        for number in range(tries):
            async with dispatcher_process(here, tmp_path, DROVER_DURABLE_TRIES=str(tries)) as victim:
                await victim.until("durable.ready")
                await device.beat()
                job = job or await here.submit()
                await device.attempt(number + 1)
                await _killed_at(here, victim, job, number + 1)
        if server_too:
            await here.server.kill()
            await here.server.restart()
            await eventually(here.queued, 1, "the server is back")
        async with dispatching(here, tries=tries):
            note = await here.over(job)
            await here.empty()
            letter = await here.letter()
            fine = await here.over(await here.submit("fine"))

    assert (note.state, letter.reason, letter.tries, fine.state) == (Stage.FAILED, "exhausted", tries, Stage.DONE)


async def test_dispatchers_that_die_before_a_device_has_the_job_use_up_no_tries(tmp_path: Path) -> None:
    """More of them than it has tries die while it stands in their line: it is answered in its first try."""
    async with world() as here:
        async with dispatching(here):  # the queue is declared
            pass
        await here.device("idle", slots=4)  # with room somewhere jobs are pulled, also such as wait for another device
        full = await here.device("nano", ANSWER, slots=1, jobs_by_dispatcher={"another": 1})
        job = await here.submit(device="nano")
        holders: set[str] = set()
        for _ in range(2):
            async with dispatcher_process(here, tmp_path, DROVER_DURABLE_TRIES="1") as victim:
                await victim.until("durable.ready")
                await eventually(partial(_has_it, here, job, holders), True, "it stands in the line")
                victim.signal(signal.SIGKILL)
                await victim.ended()
        async with dispatching(here, tries=1):
            await full.beat(jobs_by_dispatcher={})
            note = await here.over(job)
            await here.empty()

    assert (Stage.DONE, 1, 1, 2) == (note.state, note.tries, len(full.attempts), len(holders))


async def _has_it(here: World, job: str, before: set[str]) -> bool:
    """Tell whether a dispatcher has claimed a job that none of those before is; it sees the devices."""
    for device in here.devices:
        await device.beat()
    holder = await Claims(here.streams.bucket(here.names.claims), "test").holder(f"default.{job}")
    if holder is None or holder.name in before:
        return False
    before.add(holder.name)
    return True


async def test_a_job_that_kills_its_dispatchers_before_a_device_has_it_is_a_dead_letter() -> None:
    """Ten of them for each try that it may have: then it is buried, and no device has got it."""
    async with world() as here, dispatching(here, tries=1):  # without a device nobody pulls
        bucket = here.streams.bucket(here.names.claims)
        lost = [await Claims(bucket, f"ghost-{number}").take("default.mine", seq=1) for number in range(LOSSES_PER_TRY)]
        await here.submit(job="mine")
        device = await here.device("nano", ANSWER)
        note = await here.over("mine")
        await here.empty()
        letter = await here.letter()

    assert None not in lost
    assert (Stage.FAILED, "exhausted", 0, 0) == (note.state, letter.reason, letter.tries, len(device.attempts))
    assert "10 dispatchers" in str(letter.error)


async def _killed_at(here: World, victim: Running, job: str, tries: int) -> None:
    """Kill a dispatcher as soon as it has told of this try."""
    await eventually(partial(_told, here, job, tries), True, "the try is told")
    victim.signal(signal.SIGKILL)
    await victim.ended()


async def _reached(here: World, job: str) -> bool:
    """A try counts from then on; the claim says so with its next renewal, a moment after the note."""
    holder = await Claims(here.streams.bucket(here.names.claims), "test").holder(f"default.{job}")
    return holder is not None and holder.reached


async def _told(here: World, job: str, tries: int) -> bool:
    return any(note.tries == tries for note in await here.notes(job))


async def test_the_sweep_finds_what_nobody_told(tmp_path: Path) -> None:
    """A server that was told to count deliveries gives up, and its own word of it is lost: the job lies there, and is found,
    soon after a dispatcher has come or is back, however seldom sweeps are otherwise."""
    async with world() as here:
        device = await here.device("nano", Hold(), ANSWER, slots=4)
        subject = here.subjects.jobs("*", Priority.NORMAL)
        once = ConsumerSpec(
            stream=here.names.jobs, name=Priority.NORMAL, subject=subject, ack_wait_s=1.0, max_deliver=1
        )
        async with dispatcher_process(here, tmp_path, DROVER_DURABLE_TRIES="1") as victim:
            await victim.until("durable.ready")
            await device.beat()
            await here.streams.declare_consumer(once)
            job = await here.submit()
            await eventually(partial(_reached, here, job), True, "the claim says that a device has the job")
            await _killed_at(here, victim, job, 1)
        async with here.streams.puller(here.names.jobs, Priority.NORMAL) as puller:
            # Somebody has to ask, or the server does not look whether the last delivery is overdue.
            await eventually(lambda: _advised(here, puller), True, "the server tells")
        await here.streams.purge(here.names.advisories, "$JS.EVENT.ADVISORY.>")
        async with dispatching(here, tries=1, sweep_s=3600):
            note = await here.over(job)
            await here.empty()
            letter = await here.letter()

    assert (Stage.FAILED, "exhausted") == (note.state, letter.reason)


async def _advised(here: World, puller) -> bool:  # type: ignore[no-untyped-def]
    assert [] == list(await puller.fetch(1, wait_s=0.2))
    return (await here.streams.state(here.names.advisories)).messages > 0
