"""The processes of a bench: a NATS server, the baseline's echo, and a fleet with one echo device; all end with the context."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from common.errors import ConfigError
from dispatcher.cli.nats_server import config, program

READY_S = 60.0
ECHO_DEVICE = "bench-echo"
ECHO_SLOTS = 256


@dataclass(frozen=True, slots=True)
class Stage:
    """Where things are. Process numbers serve to read their CPU time."""

    nats_url: str
    http_port: int
    dispatcher_pid: int
    bridge_pid: int
    agent_pid: int


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Start everything on free ports in a temporary directory. Raises `ConfigError` when something does not come up."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="drover-bench-")))
        nats_port, http_port = free_port(), free_port()
        url = f"nats://127.0.0.1:{nats_port}"
        conf = _write(folder / "nats.conf", config(host="127.0.0.1", port=nats_port, store=folder / "store"))
        env = {
            "NATS_URL": url,
            "DROVER_HTTP_PORT": str(http_port),
            "DROVER_DEVICE": ECHO_DEVICE,
            "DROVER_BACKEND": "echo",
            "DROVER_SLOTS": str(ECHO_SLOTS),
            "DROVER_HTTP_KEYS": "off",  # there is no ledger that could say whether there are any
            "LOG_LEVEL": "INFO",
            "LOG_FORMAT": "json",
        }
        processes = Processes(closing, folder, env)
        processes.start("nats", program("nats-server"), "-c", str(conf))
        await listening(nats_port, "nats-server")
        processes.python("echo", "dispatcher.lab.speed.raw", "echo", url)
        processes.python("relay", "dispatcher.lab.speed.raw", "relay", url)
        processes.python("source", "dispatcher.lab.speed.source", url)
        dispatcher = processes.python("dispatcher", "dispatcher", "dispatcher")
        bridge = processes.python("bridge", "dispatcher", "bridge")
        agent = processes.python("agent", "agents")
        await healthy(http_port, folder)
        yield Stage(url, http_port, dispatcher, bridge, agent)


class Processes:
    """Starts processes that are killed with the stage."""

    def __init__(self, closing: ExitStack, folder: Path, env: Mapping[str, str]) -> None:
        self._closing = closing
        self._folder = folder
        self._env = {**os.environ, **env}

    def python(self, name: str, module: str, *args: str, env: Mapping[str, str] | None = None) -> int:
        return self.start(name, sys.executable, "-m", module, *args, env=env)

    def start(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> int:
        log = self._closing.enter_context((self._folder / f"{name}.log").open("wb"))
        whole = {**self._env, **(env or {})}
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=whole)  # noqa: S603
        self._closing.callback(_end, process)
        return process.pid


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def listening(port: int, name: str) -> None:
    """Return when something listens there. Raises `ConfigError` when nothing does in time."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(probe, f"{name} did not listen on port {port}")


async def healthy(port: int, folder: Path) -> None:
    """Return when the bridge says that the fleet can answer. Raises `ConfigError` with the ends of all logs."""

    def health() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def probe() -> bool:
        return await asyncio.to_thread(health)

    try:
        await until(probe, "the fleet did not come up")
    except ConfigError as error:
        raise ConfigError(f"{error.message}\n{_tails(folder)}") from error


def _tails(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()[-800:]}" for log in sorted(folder.glob("*.log")))


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def until(probe: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Return when `probe` says yes. Raises `ConfigError` when it does not in time."""
    try:
        async with asyncio.timeout(READY_S):
            while not await probe():  # noqa: ASYNC110  # another process comes up; there is no event to wait on
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise ConfigError(f"{otherwise} within {READY_S:g} s") from None
