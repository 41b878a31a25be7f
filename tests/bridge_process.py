"""A real bridge of one's own: a process on a free port, always stopped by its handle."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

START_S = 30.0
"""A hang guard; a start takes about a second on an idle machine."""

_READY = "bridge listening on "


@dataclass(slots=True)
class BridgeProcess:
    """One running bridge."""

    url: str
    process: Process
    said: list[str] = field(default_factory=list)
    """What it wrote on standard error."""

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    async def signal_and_wait(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and give the exit status."""
        self.process.send_signal(number)
        async with asyncio.timeout(START_S):
            return await self.process.wait()


def bridge_environment(**settings: str) -> dict[str, str]:
    """The environment of a bridge: nothing of this process's own settings leaks in."""
    plain = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")}
    # Without patience: what a scripted fleet loses on purpose is to be told, not mended.
    return {
        **plain,
        "DROVER_HTTP_PATIENCE_S": "0",
        "DROVER_HTTP_PORT": "0",
        "DROVER_LEDGER": "off",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "WARNING",
        **settings,
    }


async def start_bridge(environment: Mapping[str, str], directory: str) -> Process:
    """Start a bridge and don't wait for it."""
    command = (sys.executable, "-m", "dispatcher.bridge")
    return await asyncio.create_subprocess_exec(*command, env=environment, cwd=directory, stdout=PIPE, stderr=PIPE)


@asynccontextmanager
async def bridge_process(nats_url: str, **settings: str) -> AsyncIterator[BridgeProcess]:
    """Run a bridge for the life of the context; `settings` are environment variables. It serves when the context is entered."""
    with tempfile.TemporaryDirectory(prefix="drover-bridge-") as directory:
        process = await start_bridge(bridge_environment(NATS_URL=nats_url, **settings), directory)
        async with asyncio.TaskGroup() as group:
            assert process.stderr is not None
            said = list[str]()
            draining = group.create_task(_copy(process.stderr, said))
            try:
                yield BridgeProcess(await _ready(process), process, said)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
                await draining


async def _ready(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        line = (await process.stdout.readline()).decode().strip()
    assert line.startswith(_READY), f"the bridge said {line!r} instead of {_READY!r}"
    return line.removeprefix(_READY)


async def _copy(stream: asyncio.StreamReader, said: list[str]) -> None:
    """Keep the pipe empty, and show what the bridge said when a test fails."""
    async for line in stream:
        said.append(line.decode(errors="replace"))
        sys.stderr.write(said[-1])
