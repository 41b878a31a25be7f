"""A real redis-server of one's own: free port, own directory, nothing on disk, always stopped by its handle."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.nats_server import PORTS_TRIED, START_S, PortTaken, free_port

PROGRAM = shutil.which("redis-server") or "/usr/bin/redis-server"

REDIS8 = os.environ.get("DROVER_TEST_REDIS8", "")
"""The redis-server of a Redis 8, which few systems have yet: `tests/redis8.sh` fetches one."""

needs_redis = pytest.mark.skipif(
    not Path(PROGRAM).exists(), reason="redis-server is not installed: deploy/setup.sh dev installs it"
)

needs_redis8 = pytest.mark.skipif(not REDIS8, reason="DROVER_TEST_REDIS8 names no redis-server of a Redis 8")


@dataclass(slots=True)
class RedisServer:
    """One running server. `kill` leaves it down until `restart`, which keeps port and options and forgets all data."""

    port: int
    directory: Path
    options: Sequence[str]
    process: Process
    program: str = PROGRAM

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.process.returncode is not None:
            return
        # Not `Process.send_signal`: it polls, and may reap the child before the loop's watcher does.
        try:
            os.kill(self.process.pid, signal.SIGCONT)
            os.kill(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended by itself; the wait below collects it
        async with asyncio.timeout(START_S):
            await self.process.wait()

    def pause(self) -> None:
        """Freeze it: sockets stay open, connections are even accepted by the system, nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        os.kill(self.process.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Start it again on the same port, after ending it if need be."""
        await self.kill()
        self.process = await _start(self.port, self.directory, self.options, self.program)
        await _answering(self)


@asynccontextmanager
async def redis_server(*options: str, program: str = PROGRAM) -> AsyncIterator[RedisServer]:
    """Run a server for the life of the context; it answers when the context is entered. `options` are its own, such as
    `--requirepass`."""
    with tempfile.TemporaryDirectory(prefix="drover-redis-") as name:
        server = await _on_some_port(Path(name), options, program)
        try:
            yield server
        finally:
            await server.kill()


async def _on_some_port(directory: Path, options: Sequence[str], program: str) -> RedisServer:
    """Start on a free port: tests that run side by side may be given the same one, and only one of them gets it."""
    for last in (*[False] * (PORTS_TRIED - 1), True):
        port = free_port()
        process = await _start(port, directory, options, program)
        server = RedisServer(port, directory, options, process, program)
        try:
            await _answering(server)
        except PortTaken:
            if last:
                raise
        else:
            return server
    raise AssertionError("unreachable")


async def _start(port: int, directory: Path, options: Sequence[str], program: str) -> Process:
    # Where it can be had, the server dies with us: a test run that hangs is ended without its `finally`.
    guard = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
    quiet = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--unixsocket", str(directory / "socket")]
    where = ["--port", str(port), "--dir", str(directory), "--logfile", str(directory / "server.log")]
    return await asyncio.create_subprocess_exec(
        *guard, program, *where, *quiet, *options, stdout=DEVNULL, stderr=DEVNULL
    )


async def _answering(server: RedisServer) -> None:
    """Wait until this very server answers: its own socket is in its own directory, while another one may hold the port. A server
    that does not come up is stopped."""
    try:
        async with asyncio.timeout(START_S):
            while True:
                if await _pongs(server):
                    return
                await asyncio.sleep(0.01)
    except BaseException:
        await server.kill()
        raise


async def _pongs(server: RedisServer) -> bool:
    if server.process.returncode is not None:
        log = server.directory / "server.log"
        said = log.read_text() if log.exists() else "no log"
        raise (PortTaken if "Address already in use" in said else RuntimeError)(f"redis-server ended: {said}")
    try:
        reader, writer = await asyncio.open_unix_connection(server.directory / "socket")
    except OSError:
        return False
    writer.write(b"PING\r\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer.startswith((b"+PONG", b"-NOAUTH"))
