"""Starts a real agent as a process of its own, and talks to it as a dispatcher does; it knows nothing of dispatchers' code."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack

from common import codec
from common.bus import Bus, Delivery
from common.codec import Encoding
from common.messages import Heartbeat
from tests.listening import GUARD_S

_ROOT = Path(__file__).parent.parent
# What the machine that runs the tests may have set for its own fleet must not reach a test's.
_FOREIGN = ("DROVER_", "OLLAMA_", "OPENAI_", "NATS_", "LOG_")
_STOP_S = 20.0


class Stream:
    """The frames of one attempt, in the order of arrival; the empty payload that ends it shows as `{}`; MessagePack has none."""

    def __init__(self, reply: str, payload: bytes) -> None:
        self.reply = reply
        self.payload = payload
        """What was sent."""
        self.raw: list[bytes] = []
        self.frames: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.raw.append(delivery.data)
        self.frames.extend(codec.decode_all(delivery.data) if delivery.data else [{}])
        self._changed.set()

    @property
    def text(self) -> str:
        return "".join(frame["d"] for frame in self.frames if frame.get("t") == "tok")

    @property
    def kinds(self) -> list[str]:
        """The kinds of frames, each run of equal ones shown once; without keep-alives, of which a busy machine needs some."""
        kinds = (frame.get("t", "") for frame in self.frames)
        return [kind for kind, _ in itertools.groupby(kind for kind in kinds if kind != "ka")]

    @property
    def error(self) -> str | None:
        """The code of the error that ended the stream."""
        return next((frame["code"] for frame in self.frames if frame.get("t") == "err"), None)

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`-th frame of a kind, and give it; `""` is the end of the stream."""
        async with asyncio.timeout(GUARD_S):
            while len(found := [frame for frame in self.frames if frame.get("t", "") == kind]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]

    async def whole(self) -> list[dict[str, Any]]:
        """Wait for the end, and give all frames."""
        await self.until("")
        return self.frames


class Device:
    """One device as seen over the bus: its heartbeats, its doors, and the streams of the jobs that were sent to it."""

    _numbers = itertools.count(1)

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self.heartbeats: list[Heartbeat] = []
        self._bus = bus
        self._beat = asyncio.Event()

    def hear(self, delivery: Delivery) -> None:
        """Take a heartbeat; the handler of their subject."""
        self.heartbeats.append(codec.build(Heartbeat, codec.decode(delivery.data)))
        self._beat.set()

    async def until(self, fits: Callable[[Heartbeat], bool], *, ever: bool = False) -> Heartbeat:
        """Wait for the first heartbeat that fits: from now on, or, with `ever`, of all that were heard."""
        seen = 0 if ever else len(self.heartbeats)
        async with asyncio.timeout(GUARD_S):
            while True:
                for heartbeat in self.heartbeats[seen:]:
                    if fits(heartbeat):
                        return heartbeat
                seen = len(self.heartbeats)
                self._beat.clear()
                await self._beat.wait()

    async def send(
        self,
        prompt: str = "Why is the sky blue?",
        *,
        model: str = "tinyllama:1.1b",
        job: str | None = None,
        attempt: int = 1,
        encoding: Encoding = Encoding.JSON,
        reply: str | None = None,
        **fields: Any,
    ) -> Stream:
        """Dispatch a job; without `reply` under a new one."""
        number = next(self._numbers)
        body = {
            "job": job or f"job-{number}",
            "attempt": attempt,
            "dispatcher": "tester",
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            **fields,
        }
        # packed here and not by `codec`, as a program in another language would
        return await self.send_raw(codec.encode(body) if encoding is Encoding.JSON else msgpack.packb(body), reply)

    async def send_raw(self, payload: bytes, reply: str | None = None) -> Stream:
        """Dispatch any bytes."""
        stream = Stream(reply or self.new_reply(), payload)
        await self._bus.subscribe(stream.reply, stream)
        await self.repeat(stream)
        return stream

    async def repeat(self, stream: Stream) -> None:
        """Deliver the very dispatch of a stream once more."""
        await self._bus.publish(f"llm.v1.dev.{self.name}.job", stream.payload, reply=stream.reply)

    async def until_idle(self) -> None:
        """Wait until the device says that no slot is taken, at its door or by heartbeat."""
        if (await self.ask("probe"))["in_flight"]:
            await self.until(lambda beat: beat.in_flight == 0)

    def new_reply(self) -> str:
        """Give a reply subject as a dispatcher makes one for each attempt."""
        return f"_INBOX_disp.tester.{next(self._numbers)}.1"

    async def ask(self, verb: str, payload: bytes = b"") -> dict[str, Any]:
        """Ask at a door."""
        answer = await self._bus.request(f"llm.v1.dev.{self.name}.{verb}", payload, timeout_s=GUARD_S)
        return codec.decode(answer.data)


@asynccontextmanager
async def device_seen(bus: Bus, name: str) -> AsyncIterator[Device]:
    """Watch a device over an open bus."""
    device = Device(bus, name)
    hearing = await bus.subscribe(f"llm.v1.hb.{name}", device.hear)
    try:
        yield device
    finally:
        await hearing.unsubscribe()


class AgentProcess:
    """A running agent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; an agent that has ended does not mind."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it ended, and the loop has not heard of it yet
                os.kill(self._process.pid, number)

    async def ended(self) -> int:
        """Wait for the end, and give the exit status: negative for the signal that it died of."""
        async with asyncio.timeout(GUARD_S):
            return await self._process.wait()


def agent_environment(nats_url: str, name: str, **environment: str) -> dict[str, str]:
    """Give the whole environment of an agent."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    return {**own, "PYTHONPATH": str(_ROOT), "NATS_URL": nats_url, "DROVER_DEVICE": name, **environment}


@asynccontextmanager
async def agent_process(nats_url: str, name: str, **environment: str) -> AsyncIterator[AgentProcess]:
    """Run an agent for the life of the context, away from anybody's `.env`; it may not have connected yet."""
    with tempfile.TemporaryDirectory(prefix="drover-agent-") as directory:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agents",
            cwd=directory,
            env=agent_environment(nats_url, name, LOG_LEVEL="WARNING", **environment),
        )
        agent = AgentProcess(process)
        try:
            yield agent
        finally:
            await _stopped(agent, process)


async def _stopped(agent: AgentProcess, process: asyncio.subprocess.Process) -> None:
    agent.signal(signal.SIGCONT)
    agent.signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    finally:
        agent.signal(signal.SIGKILL)
        await process.wait()
