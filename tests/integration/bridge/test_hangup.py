"""A client that hangs up: its job is cancelled at once, whatever the bridge was about to send."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.bridge_process import BridgeProcess
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

HANG_S = 20.0
NOTICED_S = 8.0
"""Less than the 10 s after which a write would show the loss: what comes sooner was noticed by watching, in milliseconds."""


async def post(bridge: BridgeProcess, *, stream: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a chat request over a bare socket."""
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(head.encode() + body)
    return reader, writer


async def cancelled_after_close(fleet: ScriptedFleet, job: ScriptedJob, writer: asyncio.StreamWriter) -> bool:
    """Hang up, and tell whether the cancel of this very job was heard."""
    writer.close()
    async with asyncio.timeout(NOTICED_S):
        return await fleet.cancels.get() == job.id


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hangup_before_the_first_token_cancels(
    bridge: BridgeProcess, fleet: ScriptedFleet, stream: bool
) -> None:
    """Nothing was sent yet, streamed or not: the job is cancelled all the same."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.cancelled.wait()

    fleet.script = script
    _, writer = await post(bridge, stream=stream)
    job = await fleet.jobs.get()

    assert await cancelled_after_close(fleet, job, writer)


async def test_a_hangup_in_mid_stream_cancels(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """The device is silent after a token, so no write could show the loss: the watch does."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("once upon a time")
        await job.cancelled.wait()

    fleet.script = script
    reader, writer = await post(bridge, stream=True)
    job = await fleet.jobs.get()
    async with asyncio.timeout(HANG_S):
        await reader.readuntil(b"once upon a time")

    assert await cancelled_after_close(fleet, job, writer)


async def test_an_answer_that_was_read_to_its_end_is_not_cancelled(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """Closing after `[DONE]` cancels nothing: the next cancel that is heard is the next job's."""
    reader, writer = await post(bridge, stream=True)
    async with asyncio.timeout(HANG_S):
        await reader.readuntil(b"[DONE]\n\n")
    writer.close()
    await fleet.jobs.get()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.cancelled.wait()

    fleet.script = script
    _, writer = await post(bridge, stream=True)
    job = await fleet.jobs.get()

    assert await cancelled_after_close(fleet, job, writer)


async def test_one_hangup_leaves_the_other_answers_alone(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """Of two open streams the one that is left still gets its text."""
    other_gone = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("first")
        await other_gone.wait()
        if not job.cancelled.is_set():
            await job.token("second")
            await job.end()

    fleet.script = script
    _, leaving = await post(bridge, stream=True)
    gone = await fleet.jobs.get()
    reader, staying = await post(bridge, stream=True)
    assert await cancelled_after_close(fleet, gone, leaving)
    other_gone.set()
    async with asyncio.timeout(HANG_S):
        rest = await reader.readuntil(b"[DONE]\n\n")
    staying.close()

    assert b'"second"' in rest
