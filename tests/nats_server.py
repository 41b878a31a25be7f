"""A real nats-server of one's own: free port, temporary store, always stopped by its handle."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 15.0
"""A hang guard; a start takes about 50 ms on an idle machine."""


PORTS_TRIED = 5


class PortTaken(RuntimeError):
    """Somebody else listens on the port that the server was to have."""


def free_port() -> int:
    """Give a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class NatsServer:
    """One running server. `kill` and `stop` leave it down until `restart`, which keeps port and store."""

    port: int
    command: list[str]
    directory: Path
    process: Process

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """End it at once, as a power cut does."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it in good order."""
        await self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Freeze it: sockets stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        os.kill(self.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Start it again on the same port with the same store, after ending it if need be."""
        await self.kill()
        self.process = await _start(self.command)
        await _accepting(self)

    async def _end(self, number: signal.Signals) -> None:
        if self.process.returncode is not None:
            return
        # Not `Process.send_signal`: it polls, and may reap the child before the loop's watcher does.
        try:
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it ended by itself; the wait below collects it
        try:
            async with asyncio.timeout(START_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def nats_server(*, port: int = 0, jetstream: bool = False, config_extra: str = "") -> AsyncIterator[NatsServer]:
    """Run a server for the life of the context; it accepts connections when the context is entered."""
    program = shutil.which("nats-server") or "/usr/sbin/nats-server"
    # Where it can be had, the server dies with us: a test run that hangs is ended without its `finally`.
    guard = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
    with tempfile.TemporaryDirectory(prefix="drover-nats-") as name:
        directory = Path(name)
        config = directory / "nats.conf"
        command = [*guard, program, "-c", str(config)]
        lines = [f'log_file: "{directory}/server.log"', f'server_name: "{directory.name}"']
        if jetstream:
            lines.append(f'jetstream {{ store_dir: "{directory}/store" }}')

        async def opened(at: int) -> NatsServer:
            config.write_text("\n".join([f"listen: 127.0.0.1:{at}", *lines, config_extra]), encoding="utf-8")
            return await _accepting(NatsServer(at, command, directory, await _start(command)))

        server = await opened(port) if port else await _on_some_port(opened)
        try:
            yield server
        finally:
            await server.kill()


async def _on_some_port(opened: Callable[[int], Awaitable[NatsServer]]) -> NatsServer:
    """Start on a free port: tests that run side by side may be given the same one, and only one of them gets it."""
    for _ in range(PORTS_TRIED - 1):
        try:
            return await opened(free_port())
        except PortTaken:
            continue
    return await opened(free_port())


async def _start(command: list[str]) -> Process:
    return await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)


async def _accepting(server: NatsServer) -> NatsServer:
    """Wait until this very server answers, and give it back; another one may hold the port. A server that does not come up is
    stopped."""
    try:
        await _answering(server)
    except BaseException:
        await server.kill()
        raise
    return server


async def _answering(server: NatsServer) -> None:
    async with asyncio.timeout(START_S):
        while True:
            if server.process.returncode is not None:
                log = server.directory / "server.log"
                said = log.read_text() if log.exists() else "no log"
                raise (PortTaken if "address already in use" in said else RuntimeError)(f"nats-server ended: {said}")
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            greeting = await reader.readline()
            writer.close()
            await writer.wait_closed()
            if greeting.startswith(b"INFO") and f'"server_name":"{server.directory.name}"'.encode() in greeting:
                return
            await asyncio.sleep(0.01)
