"""Many at one bridge: clients that wait in silence, streams as fast as they go, and one who reads slowly beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from uuid import uuid4

import psutil

from common import codec
from dispatcher.lab import http
from dispatcher.lab.speed.door.price import CHAT, chat_body, key_header
from dispatcher.lab.speed.door.reader import Reader, reading
from dispatcher.lab.speed.door.stage import Door
from dispatcher.lab.speed.source import CHUNK, CHUNKS, FULL_MODEL, MOST_CHUNKS, SOURCE_MODEL

STREAMS = 16
SLOW_BUFFER_BYTES = 4096
SLOW_FRAME_S = 1.0
FRAME_BYTES = 512
"""More than an event with one chunk of text has; one with all that has piled up may have a hundred times as much."""

OPENING = 50
"""So many connect at a time: as a crowd, and not as an attack."""

PATIENCE = {"X-Drover-Timeout": "3600"}


async def idle(door: Door, clients: int, seconds: float) -> dict[str, float]:
    """Give what silent clients take of a bridge: those who follow a job that waits in the queue, and those whose chat waits in the
    line for a slot, which the dispatcher tells of once a second."""
    job = f"bench-{uuid4().hex}"
    body = codec.encode({"prompt": "later", "model": FULL_MODEL, "job": job, "timeout_s": 3600})
    connection = await http.connect("127.0.0.1", door.port)
    status, told = await connection.call("POST", "/api/v1/jobs", body)
    if status != 202:
        raise RuntimeError(f"/api/v1/jobs answered {status}: {told[:200]!r}")
    follow = await _crowd(door, Crowd("events", "bridge", door.port, f"/api/v1/jobs/{job}/events"), clients, seconds)
    await connection.call("DELETE", f"/api/v1/jobs/{job}")
    await connection.close()
    chat = chat_body(FULL_MODEL, stream=True)
    # The other bridge has not given memory back that such a crowd may take again.
    wait = Crowd("chats", "keyed", door.keyed_port, CHAT, chat, key_header(door, "key"))
    return {**follow, **await _crowd(door, wait, clients, seconds)}


@dataclass(frozen=True, slots=True)
class Crowd:
    """What each of many clients asks for, and of which bridge."""

    kind: str
    process: str
    port: int
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


async def _crowd(door: Door, crowd: Crowd, clients: int, seconds: float) -> dict[str, float]:
    """Hold so many open streams; memory and CPU above those of the bridge without them."""
    process = psutil.Process(door.pids[crowd.process])
    before_mb, alone = _mb(process), await _share(process, seconds)
    few = asyncio.Semaphore(OPENING)
    async with AsyncExitStack() as held:

        async def come() -> None:
            async with few:
                reader = await held.enter_async_context(reading(crowd.port, buffer_bytes=SLOW_BUFFER_BYTES))
            # Whose chat waits is sent no headers for some seconds.
            await reader.ask(crowd.path, crowd.body, {**PATIENCE, **crowd.headers})

        async with asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(come())
        busy, mb = await _share(process, seconds), _mb(process)
    name = f"door_idle_{crowd.kind}"
    return {
        f"{name}_clients": float(clients),
        f"{name}_mb": mb - before_mb,
        f"{name}_kb_each": (mb - before_mb) * 1000 / clients,
        f"{name}_core_percent": 100 * (busy - alone),
    }


async def flood(door: Door, turns: int) -> dict[str, float]:
    """Give events per second through one bridge, beside a long answer that is read at once, and beside the same one read slowly:
    what the long one itself takes of the machine is in both."""
    await _pour(door, 1)
    quick, slow, text = 0.0, 0.0, 0.0
    for _ in range(turns):
        events, chunks = await _beside(door, 0.0)
        quick, text = quick + events / turns, text + chunks / turns
        slow += (await _beside(door, SLOW_FRAME_S))[0] / turns
    return {
        "door_events_per_s": quick,
        "door_chunks_per_s": text,
        "door_events_beside_slow_per_s": slow,
        "door_slow_reader_ratio": slow / quick,
    }


async def _beside(door: Door, pause_s: float) -> tuple[float, float]:
    """Read many streams beside a long one that is read so slowly."""
    async with reading(door.port, buffer_bytes=SLOW_BUFFER_BYTES) as long, asyncio.TaskGroup() as tasks:
        await long.ask(CHAT, chat_body(SOURCE_MODEL, stream=True, max_tokens=MOST_CHUNKS))
        dawdling = tasks.create_task(_dawdle(long, pause_s))
        found = await _pour(door, 4)
        dawdling.cancel()
    return found


async def _dawdle(reader: Reader, pause_s: float) -> None:
    while await reader.block(FRAME_BYTES if pause_s else SLOW_BUFFER_BYTES):  # noqa: ASYNC110  # slow on purpose
        await asyncio.sleep(pause_s)


async def _pour(door: Door, rounds: int) -> tuple[float, float]:
    """Read many streams at once; gives events, and chunks of text as the device wrote them, per second: what arrives together
    travels as one event."""
    body = chat_body(SOURCE_MODEL, stream=True, max_tokens=CHUNKS)
    events = text = 0

    async def one() -> None:
        nonlocal events, text
        for _ in range(rounds):
            async with reading(door.port) as reader:
                await reader.ask(CHAT, body, {"Connection": "close"})
                while data := await reader.block():
                    events += data.count(b"data: ")
                    text += data.count(CHUNK[:1].encode() * 8) * 8

    began_s = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(STREAMS):
            tasks.create_task(one())
    taken_s = perf_counter() - began_s
    return events / taken_s, text / len(CHUNK) / taken_s


def _mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


async def _share(process: psutil.Process, seconds: float) -> float:
    """Give the share of a core that a process takes now."""
    before, began_s = process.cpu_times(), perf_counter()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (perf_counter() - began_s)
