"""The baselines: bare nats-py, without anything of ours; the one other module that may import it.

Run as `python -m dispatcher.lab.speed.raw echo|relay <nats-url>`: `echo` answers requests with their own payload, `relay` hands
each to `echo` and its answer back, which is the least that any dispatcher in between must do.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

__all__ = ["Client"]

ECHO_SUBJECT = "bench.echo"
RELAY_SUBJECT = "bench.relay"
REPLY_WAIT_S = 30.0


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """Open a bare client."""
    connection = await nats.connect(url, name="bench-raw", allow_reconnect=False)
    try:
        yield connection
    finally:
        await connection.close()


async def throughput(connection: Client, subject: str, payload: bytes, *, in_flight: int, seconds: float) -> float:
    """Give requests per second with `in_flight` always under way. The first fifth of the time is warm-up."""
    done = 0
    began_s = time.perf_counter()
    counted_from_s, stop_s = began_s + seconds / 5, began_s + seconds

    async def ask() -> None:
        nonlocal done
        while (now_s := time.perf_counter()) < stop_s or not done:  # a machine may be too busy for one in that time
            await _request(connection, subject, payload)
            done += now_s >= counted_from_s

    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(ask())
    return done / (time.perf_counter() - counted_from_s)


async def batch(connection: Client, subject: str, payload: bytes, *, count: int, in_flight: int) -> None:
    """Make `count` requests, `in_flight` at a time."""
    left = iter(range(count))

    async def ask() -> None:
        for _ in left:
            await _request(connection, subject, payload)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(ask())


async def latencies(connection: Client, subject: str, payload: bytes, *, count: int) -> list[float]:
    """Give the seconds of `count` requests, one after the other, after a tenth as many for warm-up."""
    for _ in range(count // 10):
        await _request(connection, subject, payload)
    taken = []
    for _ in range(count):
        began_s = time.perf_counter()
        await _request(connection, subject, payload)
        taken.append(time.perf_counter() - began_s)
    return taken


async def streams(
    connection: Client, subject: str, payload: bytes, *, in_flight: int, rounds: int
) -> tuple[float, int]:
    """Ask for `in_flight` streams at a time, `rounds` times; give the seconds and the bytes of text frames that came."""
    root = connection.new_inbox()
    ended: dict[str, asyncio.Event] = {}
    received = 0

    async def heard(message: Msg) -> None:
        nonlocal received
        if message.data:
            received += message.data.count(b"x")
        else:
            ended[message.subject].set()

    subscription = await connection.subscribe(f"{root}.*", cb=heard)
    numbers = itertools.count()

    async def one() -> None:
        for _ in range(rounds):
            inbox = f"{root}.{next(numbers)}"
            ended[inbox] = asyncio.Event()
            await connection.publish(subject, payload, reply=inbox)
            async with asyncio.timeout(REPLY_WAIT_S):
                await ended[inbox].wait()

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(one())
    taken_s = time.perf_counter() - began_s
    await subscription.unsubscribe()
    return taken_s, received


async def durable(
    connection: Client, subject: str, results: str, payload: bytes, *, in_flight: int, seconds: float
) -> float:
    """Give durable jobs per second, from publish to stored result, with `in_flight` always under way; every publish waits for its
    acknowledgement. The first fifth of the time is warm-up."""
    ended: dict[str, asyncio.Event] = {}
    numbers = itertools.count()
    done = 0
    run = secrets.token_hex(4)

    async def heard(message: Msg) -> None:
        waiting = ended.get(message.subject)
        if waiting is not None and b'"state":"done"' in message.data:
            waiting.set()

    subscription = await connection.subscribe(f"{results}.*", cb=heard)
    began_s = time.perf_counter()
    counted_from_s, stop_s = began_s + seconds / 5, began_s + seconds

    async def ask() -> None:
        nonlocal done
        while (now_s := time.perf_counter()) < stop_s:
            job = f"{run}-{next(numbers)}"
            over = ended[f"{results}.{job}"] = asyncio.Event()
            stored = await connection.request(subject, payload, timeout=REPLY_WAIT_S, headers={"Nx-Job": job})
            if b'"seq"' not in stored.data:
                raise RuntimeError(f"{subject} answered {stored.data[:200]!r}")
            async with asyncio.timeout(REPLY_WAIT_S):
                await over.wait()
            del ended[f"{results}.{job}"]
            done += now_s >= counted_from_s

    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(ask())
    taken_s = time.perf_counter() - counted_from_s
    await subscription.unsubscribe()
    return done / taken_s


async def _request(connection: Client, subject: str, payload: bytes) -> None:
    reply = await connection.request(subject, payload, timeout=REPLY_WAIT_S)
    if not reply.data or reply.data.startswith(b'{"error"'):
        raise RuntimeError(f"{subject} answered {reply.data[:200]!r}")


async def _echo(url: str) -> None:
    async with client(url) as connection:

        async def answer(message: Msg) -> None:
            await message.respond(message.data)

        await connection.subscribe(ECHO_SUBJECT, cb=answer)
        await asyncio.Event().wait()


async def _relay(url: str) -> None:
    async with client(url) as connection, asyncio.TaskGroup() as tasks:

        async def pass_on(message: Msg) -> None:
            reply = await connection.request(ECHO_SUBJECT, message.data, timeout=REPLY_WAIT_S)
            await message.respond(reply.data)

        async def hear(message: Msg) -> None:
            tasks.create_task(pass_on(message))

        await connection.subscribe(RELAY_SUBJECT, queue="relay", cb=hear)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run({"echo": _echo, "relay": _relay}[sys.argv[1]](sys.argv[2]))
