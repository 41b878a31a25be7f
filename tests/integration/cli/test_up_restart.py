"""Restarts under `drover up`: what clients of the bridge see of them, which is nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from openai import AsyncOpenAI

from tests.commands import GUARD_S, Running, gone
from tests.integration.cli.test_up import READY, fleet

pytestmark = pytest.mark.timeout(180)

SPEED = {"DROVER_SIM_TIME_FACTOR": "500", "DROVER_DEVICES": "one=orin,two=orin", "DROVER_SLOTS": "8"}
BODY = {"messages": [{"role": "user", "content": "Say hello."}]}


@dataclass(slots=True)
class Load:
    """Clients of one bridge that ask on and on; what fails stays written down."""

    url: str
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    stopped: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def more(self, count: int) -> None:
        """Return when so many more were answered than now."""
        goal = self.answered + count
        async with asyncio.timeout(GUARD_S):
            while self.answered < goal:
                self._changed.clear()
                await self._changed.wait()

    async def ask(self, http: httpx.AsyncClient, *, stream: bool) -> None:
        """Ask once, as a client that does not try again."""
        try:
            response = await http.post(f"{self.url}/v1/chat/completions", json={**BODY, "stream": stream})
            text = response.text
            whole = (
                text.endswith("data: [DONE]\n\n") and '"error"' not in text if stream else "choices" in json.loads(text)
            )
            self.note("" if response.status_code == 200 and whole else f"{response.status_code} {text[-300:]}")
        except httpx.HTTPError as error:
            self.note(repr(error))

    def note(self, failure: str) -> None:
        if failure:
            self.failed.append(failure)
        self.answered += not failure
        self._changed.set()

    async def pooled(self, *, stream: bool) -> None:
        """A client that keeps its connections."""
        async with httpx.AsyncClient(timeout=GUARD_S, trust_env=False) as http:
            while not self.stopped:
                await self.ask(http, stream=stream)

    async def fresh(self, *, stream: bool) -> None:
        """A new connection for each request."""
        while not self.stopped:
            async with httpx.AsyncClient(timeout=GUARD_S, trust_env=False) as http:
                await self.ask(http, stream=stream)

    async def official(self) -> None:
        """OpenAI's package, without its second tries."""
        async with AsyncOpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0, timeout=GUARD_S) as client:
            while not self.stopped:
                try:
                    await client.chat.completions.create(
                        model="auto", messages=[{"role": "user", "content": "Say hello."}]
                    )
                    self.note("")
                except Exception as error:  # noqa: BLE001  # whatever it is, it is what the test looks for
                    self.note(repr(error))


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Load]:
    """Run one of each kind for the life of the context."""
    asked = Load(url)
    async with asyncio.TaskGroup() as tasks:
        for stream in (False, True):
            tasks.create_task(asked.pooled(stream=stream))
            tasks.create_task(asked.fresh(stream=stream))
        tasks.create_task(asked.official())
        try:
            yield asked
        finally:
            asked.stopped = True


async def restart(up: Running, who: str, name: str) -> None:
    """SIGTERM one process, and wait until its watch has seen it end in good order and started another one."""
    said = len(up.lines)
    [one] = up.named(who)
    one.send_signal(signal.SIGTERM)
    await up.until(rf"^{name} ended in good order, starts again", after=said)
    async with asyncio.timeout(GUARD_S):
        while not [other for other in up.named(who) if other.pid != one.pid]:  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.02)


async def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    """The bridge four times, and the dispatcher in between: plain and streamed, over kept and new connections."""
    async with fleet(tmp_path, **SPEED) as up, load((await up.until(READY))[1]) as asked:
        await asked.more(10)
        for _ in range(2):
            await restart(up, r" -m dispatcher bridge$", "bridge")
            await asked.more(10)
            await restart(up, r" -m dispatcher dispatcher$", "dispatcher")
            await asked.more(10)
            await restart(up, r" -m dispatcher bridge$", "bridge")
            await asked.more(10)

    assert asked.failed == []


async def test_what_connects_to_a_bridge_that_is_killed_waits_for_the_next(tmp_path: Path) -> None:
    """Nobody listens for a while, and the port is held all the same; nobody else can take it."""
    async with fleet(tmp_path) as up:
        url = (await up.until(READY))[1]
        [bridge] = up.named(r" -m dispatcher bridge$")
        bridge.kill()
        await gone(bridge)
        async with httpx.AsyncClient(timeout=GUARD_S, trust_env=False) as http:
            response = await http.get(f"{url}/v1/models")

    assert response.status_code == 200


async def test_sigterm_ends_it_as_ctrl_c_does_and_the_port_is_free(tmp_path: Path) -> None:
    """For whoever runs it as a service: status 0, and nothing keeps the socket, neither the supervisor nor a process that it
    started."""
    async with fleet(tmp_path) as up:
        children = up.children()
        port = int((await up.until(READY))[1].rpartition(":")[2])
        holders = {psutil.Process(one.pid).name() for one in children if _listens(one, port)}
        up.signal(signal.SIGTERM)
        status = await up.ended()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
            again.listen()
        await gone(*children)

    assert (0, 1) == (status, len(holders))


def _listens(process: psutil.Process, port: int) -> bool:
    kept = process.net_connections(kind="tcp")
    return any(one.laddr.port == port and one.status == psutil.CONN_LISTEN for one in kept)
