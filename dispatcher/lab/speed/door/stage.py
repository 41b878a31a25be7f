"""The processes around a bridge: broker, ledger, dispatcher, two bridges of which one wants keys, and devices; all end with the
context.

The devices: one that gives back what it is told (`echo`), one that is simulated and speaks Ollama's API, one that is as fast as the
bus, and one that is full. No embedder, so that memory is that of the processes themselves.
"""

from __future__ import annotations

import resource
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from common import key_client
from common.bus.nats import NatsOptions, connect_nats
from common.errors import BusTimeout, LedgerUnavailable
from common.key_requests import AddKey, Limit
from common.keys import Period, Scope, Unit
from common.subjects import Subjects
from dispatcher.cli.nats_server import config, program
from dispatcher.lab.speed.stage import Processes, free_port, healthy, listening, until

ECHO_MODEL = "echo"
SIMULATED_MODEL = "llama3.2:3b"
SLOTS = 64
CONTEXT_TOKENS = 256
"""Short, so that the board has memory for all slots."""

TIME_FACTOR = 50.0
"""So many times faster than life: else 64 answers at once on one board would take minutes."""

PLENTY = 10**12
"""Tokens of a budget that is never spent."""

_ENV = {
    "DROVER_EMBEDDER": "none",
    "DROVER_SLOTS": str(SLOTS),
    "DROVER_QUEUE_LIMIT": "5000",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where things are. `pids` are by what the processes do; `keys` are secrets, by what their requests go through."""

    nats_url: str
    port: int
    keyed_port: int
    device_port: int
    pids: Mapping[str, int]
    keys: Mapping[str, str]

    def cpu_s(self) -> dict[str, float]:
        """Give the seconds that each process has worked so far."""
        return {name: _cpu_s(pid) for name, pid in self.pids.items()}


@asynccontextmanager
async def door() -> AsyncIterator[Door]:
    """Start everything on free ports in a temporary directory. Raises `ConfigError` when something does not come up."""
    with ExitStack() as closing:
        _many_files(closing)
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="drover-bench-door-")))
        nats_port, port, keyed_port, device_port = (free_port() for _ in range(4))
        url = f"nats://127.0.0.1:{nats_port}"
        conf = folder / "nats.conf"
        conf.write_text(config(host="127.0.0.1", port=nats_port, store=folder / "store"))
        processes = Processes(closing, folder, {**_ENV, "NATS_URL": url, "DROVER_STATE_DIR": str(folder)})
        pids = {"broker": processes.start("nats", program("nats-server"), "-c", str(conf))}
        await listening(nats_port, "nats-server")
        pids["ledger"] = processes.python("ledger", "dispatcher", "ledger", "serve")
        pids["dispatcher"] = processes.python("dispatcher", "dispatcher", "dispatcher")
        pids["agent"] = processes.python(
            "echo", "agents", env={"DROVER_DEVICE": "bench-echo", "DROVER_BACKEND": "echo"}
        )
        processes.python("source", "dispatcher.lab.speed.source", url)
        pids["simulated"] = await _simulated(processes, device_port)
        pids["bridge"] = processes.python("bridge", "dispatcher", "bridge", env=_http(port, "off"))
        pids["keyed"] = processes.python("keyed", "dispatcher", "bridge", env=_http(keyed_port, "on"))
        keys = await _keys(url)
        for one in (port, keyed_port):
            await healthy(one, folder)
        yield Door(nats_url=url, port=port, keyed_port=keyed_port, device_port=device_port, pids=pids, keys=keys)


def _http(port: int, keys: str) -> dict[str, str]:
    return {"DROVER_HTTP_PORT": str(port), "DROVER_HTTP_KEYS": keys}


async def _simulated(processes: Processes, port: int) -> int:
    """Start a simulated board, and its agent; gives the agent's number."""
    flags = {
        "profile": "orin",
        "port": port,
        "num-parallel": SLOTS,
        "time-factor": TIME_FACTOR,
        "keep-alive": -1,
        "context-length": CONTEXT_TOKENS,
    }
    processes.python("simulator", "agents.simulator", *(f"--{name}={value}" for name, value in flags.items()))
    await listening(port, "the simulated device")
    own = {
        "DROVER_DEVICE": "bench-orin",
        "OLLAMA_HOST": f"http://127.0.0.1:{port}",
        "OLLAMA_NUM_PARALLEL": str(SLOTS),
    }
    return processes.python("orin", "agents", env=own)


async def _keys(url: str) -> dict[str, str]:
    """Make a key without and one with a budget."""
    made: dict[str, str] = {}
    budget = Limit(unit=Unit.TOKENS, limit=PLENTY, period=Period.DAY)
    async with connect_nats(NatsOptions(urls=(url,), name="bench-keys")) as bus:

        async def added(name: str, *budgets: Limit) -> bool:
            wanted = AddKey(name=name, scopes=(Scope.CHAT, Scope.FLEET), budgets=budgets)
            try:
                made[name] = (await key_client.add(bus, Subjects(), wanted)).secret
            except (LedgerUnavailable, BusTimeout):
                return False  # it is about to start
            return True

        await until(lambda: added("key"), "no ledger made a key")
        await until(lambda: added("budget", budget), "no ledger made a key")
    return made


def _many_files(closing: ExitStack) -> None:
    """Allow as many connections as the machine does, for this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    closing.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
