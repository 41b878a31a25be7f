"""Durable jobs from a shell, from Python and over HTTP: real commands and a real bridge, a dispatcher in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.client import Drover
from common.durable import Stage
from common.errors import BackendError, BusTimeout
from dispatcher.bridge.native.following import JobEvents
from dispatcher.bridge.sse import Curfew
from tests.bridge_process import bridge_process
from tests.commands import drover
from tests.integration.dispatcher.scripted import Hold, answer, fail
from tests.integration.durable.world import World, dispatching, eventually, world

ANSWER = answer("all ", "of it")


async def test_submit_and_result_from_a_shell(tmp_path: Path) -> None:
    """The id is printed alone, and the answer alone; a second submission under the id adds nothing."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with dispatching(here):
            url = here.server.url
            first = await drover("submit", "hi", "--job", "mine", "--priority", "batch", cwd=tmp_path, NATS_URL=url)
            found = await drover("result", "mine", "--wait", cwd=tmp_path, NATS_URL=url)
            again = await drover("submit", "hi", "--job", "mine", "--priority", "batch", cwd=tmp_path, NATS_URL=url)
            await here.empty()

    assert (0, "mine\n", "") == (first.status, first.out, first.err)
    assert (0, "all of it\n", "") == (found.status, found.out, found.err)
    assert (0, "mine\n", 1) == (again.status, again.out, len(device.attempts))


async def test_a_strategy_goes_with_a_durable_job(tmp_path: Path) -> None:
    """From a shell as an option; over HTTP as a header, which must not differ from the body."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here), bridge_process(here.server.url) as bridge, httpx.AsyncClient() as client:
            url = f"{bridge.url}/v1/jobs"
            shell = await drover("submit", "hi", "--strategy", "perf", cwd=tmp_path, NATS_URL=here.server.url)
            headers = {"x-drover-strategy": "energy:eco", "x-drover-priority": "batch"}
            posted = await client.post(url, json={"prompt": "hi"}, headers=headers)
            torn = await client.post(url, json={"prompt": "hi", "strategy": "perf"}, headers=headers)
            notes = [await here.over(job) for job in (shell.out.strip(), posted.json()["id"])]

    strategies = [note.answer["route"]["strategy"] for note in notes if note.answer is not None]
    assert (["perf", "energy:eco"], 400) == (strategies, torn.status_code)


async def test_another_request_under_a_finished_id(tmp_path: Path) -> None:
    """From a shell it is one line and a failure; over HTTP a conflict. The same one again is told how far the job is."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with (
            dispatching(here),
            bridge_process(here.server.url) as bridge,
            httpx.AsyncClient(timeout=20.0) as client,
        ):
            submit, url = ("submit", "hi", "--job", "mine"), {"NATS_URL": here.server.url}
            await drover(*submit, cwd=tmp_path, **url)
            await here.over("mine")
            same = await drover(*submit, cwd=tmp_path, **url)
            other = await drover("submit", "other", "--job", "mine", cwd=tmp_path, **url)
            keyed = {"url": f"{bridge.url}/v1/jobs", "headers": {"idempotency-key": "mine"}}
            posted = [await client.post(**keyed, json={"prompt": prompt}) for prompt in ("hi", "other")]
            seen = (await client.get(f"{bridge.url}/v1/jobs/mine")).json()

    assert (0, "drover: job mine was there before: it is done, and nothing was added\n") == (same.status, same.err)
    assert (1, "", 1, True) == (other.status, other.out, len(other.err.splitlines()), "another request" in other.err)
    assert [202, 409] == [one.status_code for one in posted]
    assert {"id": "mine", "object": "job", "state": "done", "known": True, "url": "/v1/jobs/mine"} == posted[0].json()
    assert ("duplicate_job", 1, False) == (
        posted[1].json()["error"]["code"],
        len(device.attempts),
        "fingerprint" in seen,
    )


async def test_waiting_for_a_result_shows_the_cause(tmp_path: Path) -> None:
    """On standard error, once, while it waits; the error at the end has it too. Without waiting it is in the one line."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            url = {"NATS_URL": here.server.url}
            # Time for two commands to start while it waits, on a machine that starts one in seconds.
            told = await drover("submit", "hi", "--device", "nosuch", "--timeout", "10", cwd=tmp_path, **url)
            job = told.out.strip()
            await eventually(lambda: _state(here, job), Stage.RETRYING, "it was handed back")
            now = await drover("result", job, cwd=tmp_path, **url)
            end = await drover("result", job, "--wait", cwd=tmp_path, **url)
    cause = "there is no device 'nosuch' (known: nano); waiting for it"

    assert (5, 1, True) == (now.status, len(now.err.splitlines()), cause in now.err)
    assert (3, 2) == (end.status, len(end.err.splitlines()))
    assert [f"drover: job {job} is retrying: {cause}", True] == [
        end.err.splitlines()[0],
        cause in end.err.splitlines()[1],
    ]


async def test_submit_a_file(tmp_path: Path) -> None:
    """One id per row, in order, each with its result."""
    (tmp_path / "some.jsonl").write_text('{"prompt":"one"}\n{"prompt":"two"}\n')
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            done = await drover("submit", "--file", "some.jsonl", cwd=tmp_path, NATS_URL=here.server.url)
            states = [(await here.over(job)).state for job in done.out.split()]

    assert [Stage.DONE, Stage.DONE] == states


async def test_bad_ids_from_a_shell(tmp_path: Path) -> None:
    """Each is one clear line and a status that tells of it; a class that is none is wrong usage."""
    async with world() as here, dispatching(here):
        url = here.server.url
        ends = [
            await drover(*words, cwd=tmp_path, NATS_URL=url)
            for words in (
                ("result", "never-was"),
                ("result", "no id!"),
                ("submit", "hi", "--job", "no id!"),
                ("dlq", "show", "7"),
                ("dlq", "retry", "never-was"),
                ("dlq", "drop", "0"),
                ("submit", "hi", "--priority", "soon"),
            )
        ]

    assert [6, 1, 1, 1, 1, 1, 2] == [end.status for end in ends]
    assert [1] * 6 == [len(end.err.splitlines()) for end in ends[:6]]


async def test_how_a_job_ended_is_in_the_status(tmp_path: Path) -> None:
    """A script tells done, failed, cancelled and running apart without reading; JSON changes nothing of that."""
    async with world() as here:
        device = await here.device("nano", ANSWER, fail(BackendError("broke")), Hold())
        async with dispatching(here, tries=1):
            await here.over(done := await here.submit())
            await here.over(failed := await here.submit())
            running = await here.submit()
            await device.attempt(3)
            url = here.server.url
            ends = [await drover("result", job, cwd=tmp_path, NATS_URL=url) for job in (done, failed, running)]
            as_json = await drover("result", "--json", failed, cwd=tmp_path, NATS_URL=url)
            assert await here.jobs.cancel(running)
            await here.over(running)
            ends.append(await drover("result", running, cwd=tmp_path, NATS_URL=url))

    assert [0, 3, 5, 4] == [end.status for end in ends]
    assert (3, "failed") == (as_json.status, json.loads(as_json.out)["state"])


async def test_a_shell_is_told_what_a_job_waits_for(tmp_path: Path) -> None:
    """Whoever has misspelt a model need not wait for the job's end to see it."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            job = await here.submit(model="lama3.2:1b")
            await eventually(lambda: _state(here, job), Stage.RETRYING, "it was handed back")
            end = await drover("result", job, cwd=tmp_path, NATS_URL=here.server.url)

    assert 5 == end.status
    assert "no device has the model 'lama3.2:1b' (known: llama3.2:1b); waiting" in end.err


async def test_dead_letters_from_a_shell(tmp_path: Path) -> None:
    """Listed with their reason, shown with what was sent, sent again under the old id, and forgotten."""
    async with world() as here:
        broken = fail(BackendError("the engine broke"))
        await here.device("nano", broken, ANSWER)
        async with dispatching(here, tries=1):
            url = here.server.url
            job = await here.submit("hi")
            before = await here.over(job)
            listed = json.loads((await drover("dlq", "ls", "--json", cwd=tmp_path, NATS_URL=url)).out)
            piped = (await drover("dlq", "ls", cwd=tmp_path, NATS_URL=url)).out
            shown = json.loads((await drover("dlq", "show", job, cwd=tmp_path, NATS_URL=url)).out)
            again = await drover("dlq", "retry", str(listed[0]["id"]), cwd=tmp_path, NATS_URL=url)
            await eventually(lambda: _state(here, job), Stage.DONE, "the second life ends well")
            left = await drover("dlq", "ls", cwd=tmp_path, NATS_URL=url)
            await here.streams.publish("llm.v1.jobs.default.normal", b"garbage", headers={"Nx-Job": "bad"})
            await here.over("bad")
            await here.letter()
            dropped = await drover("dlq", "drop", "bad", cwd=tmp_path, NATS_URL=url)
            letters = await here.letters()

    assert (Stage.FAILED, [(job, "exhausted", 1)]) == (
        before.state,
        [(row["job"], row["reason"], row["tries"]) for row in listed],
    )
    assert [True] == [
        job in line and "no device can take the job" in line for line in piped.splitlines() if "exhausted" in line
    ]
    assert ("hi", f"{job}\n", "no dead letters\n") == (
        shown["payload"]["messages"][0]["content"],
        again.out,
        left.out,
    )
    assert ("bad dropped\n", []) == (dropped.out, letters)


async def _state(here: World, job: str) -> Stage | None:
    return (await here.jobs.look(job)).state


async def test_from_python() -> None:
    """Submit gives the id, result the answer; what is not over yet, and what failed, are typed errors."""
    async with world() as here:
        hold = Hold(then=ANSWER)
        await here.device("nano", hold, fail(BackendError("the engine broke")))
        async with dispatching(here, tries=1), Drover.over(here.bus) as producer:
            job = await producer.submit("hi")
            await hold.reached.wait()
            with pytest.raises(BusTimeout):
                await producer.result(job)
            hold.released.set()
            found = await producer.result(job, wait_s=30.0)
            bad = await producer.submit("hi")
            with pytest.raises(Exception, match="the engine broke"):
                await producer.result(bad, wait_s=30.0)

    assert ("all of it", "nano", job) == (found.text, found.device, found.job)


async def test_over_http() -> None:
    """202 with the place, the state, then the answer; the same key again is the same job; errors are typed."""
    async with world() as here:
        device = await here.device("nano", ANSWER)
        async with dispatching(here), bridge_process(here.server.url) as bridge, httpx.AsyncClient() as client:
            url = f"{bridge.url}/v1/jobs"
            headers = {"idempotency-key": "mine"}
            first = await client.post(url, json={"prompt": "hi"}, headers=headers)
            await here.over("mine")
            found = await client.get(f"{bridge.url}{first.headers['location']}")
            again = await client.post(url, json={"prompt": "hi"}, headers=headers)
            late = await client.delete(f"{url}/mine")
            strangers = [await client.get(f"{url}/{job}") for job in ("never-was", "no.id")]
            bad = await client.post(url, json={"prompt": "hi", "nonsense": 1})

    assert (202, "/v1/jobs/mine", "queued", False) == (
        first.status_code,
        first.headers["location"],
        first.json()["state"],
        first.json()["known"],
    )
    assert ("done", "all of it") == (found.json()["state"], found.json()["answer"]["text"])
    assert (True, 1, False) == (again.json()["known"], len(device.attempts), late.json()["cancelled"])
    assert [404, 404, 400] == [one.status_code for one in (*strangers, bad)]


async def test_events_over_http_are_resumable() -> None:
    """A client that was cut off says the number of its last event, and gets what came after, to the end."""
    async with world() as here:
        hold = Hold("some ", then=ANSWER)
        await here.device("nano", hold)
        async with dispatching(here), bridge_process(here.server.url) as bridge, httpx.AsyncClient() as client:
            job = await here.submit("hi")
            await hold.reached.wait()
            head = await _events(client, f"{bridge.url}/v1/jobs/{job}/events", most=1)
            hold.released.set()
            rest = await _events(client, f"{bridge.url}/v1/jobs/{job}/events", last=head[0]["id"])
            whole = await _events(client, f"{bridge.url}/v1/jobs/{job}/events")
            bad = await client.get(f"{bridge.url}/v1/jobs/{job}/events", headers={"last-event-id": "x"})

    assert (["running"], ["done"]) == ([one["event"] for one in head], [one["event"] for one in rest])
    assert (head + rest, 400) == (whole, bad.status_code)


async def test_events_behind_the_last_one_are_no_stream() -> None:
    """A browser that comes again after the end is told that there is nothing to come back for, and no reader waits."""
    async with world() as here:
        await here.device("nano", ANSWER)
        async with dispatching(here):
            job = await here.submit("hi")
            await here.over(job)
        async with bridge_process(here.server.url) as bridge, httpx.AsyncClient(timeout=20.0) as client:
            url = f"{bridge.url}/v1/jobs/{job}/events"
            (*_, last) = await _events(client, url)
            again = await client.get(url, headers={"last-event-id": last["id"]})
        async with asyncio.timeout(20.0):
            rest = [event async for event in here.jobs.events(job, after=int(last["id"]))]

    assert (204, b"", []) == (again.status_code, again.content, rest)


async def test_comments_while_a_job_is_queued() -> None:
    """Nothing happens to it, and the connection is not silent: lines that no reader takes for an event."""
    async with world() as here:
        async with dispatching(here):
            pass
        job = await here.submit("hi")
        curfew, sent, bodies = Curfew(), asyncio.Event(), []

        async def receive() -> object:
            return await asyncio.Event().wait()

        async def send(message: dict[str, Any]) -> None:
            bodies.append(message.get("body"))
            if bodies.count(b":\n\n") == 2:
                sent.set()

        async with asyncio.TaskGroup() as tasks, asyncio.timeout(20.0):
            tasks.create_task(JobEvents(here.jobs, job, 0, curfew, tenant="default", comment_s=0.01)({}, receive, send))
            await sent.wait()
            curfew.fall()

    assert {b":\n\n", b"", None} == set(bodies)


async def _events(client: httpx.AsyncClient, url: str, *, last: str = "", most: int = 100) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    one: dict[str, Any] = {}
    headers = {"last-event-id": last} if last else {}
    async with client.stream("GET", url, headers=headers, timeout=40.0) as answer:
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                one[name] = value
                continue
            found.append(one)
            one = {}
            if len(found) == most:
                break
    return found


async def test_cancelling_over_http() -> None:
    """A running job ends as cancelled, and says who may have wanted that: whoever reads it may be another."""
    async with world() as here:
        hold = Hold(then=ANSWER)
        await here.device("nano", hold)
        async with dispatching(here), bridge_process(here.server.url) as bridge, httpx.AsyncClient() as client:
            job = await here.submit("hi")
            await hold.reached.wait()
            said = await client.delete(f"{bridge.url}/v1/jobs/{job}")
            note = await here.over(job)

    assert (True, Stage.CANCELLED) == (said.json()["cancelled"], note.state)
    assert f"job {job} was cancelled: its user, or an administrator, asked for that" == (note.error or {})["message"]


async def test_the_routes_are_described() -> None:
    """Anybody finds them at /docs, with the body that is sent."""
    async with world() as here, bridge_process(here.server.url) as bridge, httpx.AsyncClient() as client:
        paths = (await client.get(f"{bridge.url}/openapi.json")).json()["paths"]

    assert {
        "/api/v1/jobs": {"get", "post"},
        "/api/v1/jobs/{job}": {"get", "delete"},
        "/api/v1/jobs/{job}/events": {"get"},
    } == {path: set(verbs) for path, verbs in paths.items() if path.startswith(("/v1/jobs", "/api/v1/jobs"))}
    assert "requestBody" in paths["/api/v1/jobs"]["post"]
    assert "The text comes in one piece" in paths["/api/v1/jobs/{job}/events"]["get"]["description"]
