"""A small fleet on a NATS server that lets each process do its own and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from common.bus.nats import NatsOptions, connect_nats
from common.client import Drover
from common.errors import NotPermitted
from common.messages import Options
from common.subjects import own_inbox
from dispatcher.cli.nats_fleet import SEED_FILE, FleetDir
from dispatcher.cli.nats_roles import Role
from tests.commands import DROVER, GUARD_S, clean_environment, drover, started
from tests.nats_server import free_port
from tests.simulated import simulator


def options(fleet: FleetDir, role: Role, name: str = "") -> NatsOptions:
    """How a user of the fleet connects."""
    return NatsOptions(
        urls=(fleet.read().url,),
        name=f"test-{role}",
        nkey_file=str(fleet.pack(role, name) / SEED_FILE),
        inbox_prefix=own_inbox(role, name),
        initial_connect_timeout_s=GUARD_S,
    )


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[FleetDir]:
    """A fleet's users, and the server that lets them in, as `drover nats init` writes it."""
    fleet, port = FleetDir(directory / "users"), free_port()
    fleet.init(url=f"nats://127.0.0.1:{port}", host="127.0.0.1", port=port, tenant="acme", prefix="llm.v1")
    written = fleet.server_file.read_text(encoding="utf-8")
    # Tests run side by side, and nobody looks there.
    fleet.server_file.write_text(written.replace('http: "127.0.0.1:8222"', ""), encoding="utf-8")
    program = shutil.which("nats-server") or "/usr/sbin/nats-server"
    async with started(program, "-c", str(fleet.server_file), "-l", str(directory / "nats.log")):
        async with connect_nats(options(fleet, Role.OPERATOR)):
            yield fleet


class Crew:
    """Our processes, each started where its pack lies, so that it reads its settings there; `said` is all they have written."""

    def __init__(self, stack: AsyncExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self, name: str, pack: Path, *command: str, **environment: str) -> None:
        log = self._stack.enter_context((self._directory / f"{name}.log").open("wb"))
        own = {"LOG_FORMAT": "json", "DROVER_NATS_CONNECT_WAIT_S": "30", "PYTHONUNBUFFERED": "1", **environment}
        process = await self._stack.enter_async_context(
            started(*command, cwd=pack, env=clean_environment(**own), stdout=log, stderr=log)
        )
        self._running.append(process)

    def said(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text(encoding="utf-8")

    async def until(self, what: str, told: Callable[[], bool]) -> None:
        """Wait until something stands in a log."""
        try:
            async with asyncio.timeout(GUARD_S):
                while not told():
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            logs = "\n".join(f"{path.name}: {path.read_text()}" for path in self._directory.glob("*.log"))
            raise AssertionError(f"{what} never came:\n{logs}") from error

    async def end(self) -> None:
        """Stop all in good order, the last one first."""
        async with asyncio.timeout(GUARD_S):
            for process in reversed(self._running):
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                await process.wait()


async def over_http(port: int) -> str:
    """Ask the bridge."""
    wanted = {"model": "auto", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 8}

    def call() -> str:
        request = urllib.request.Request(  # noqa: S310  # our own bridge
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps(wanted).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=GUARD_S) as answer:  # noqa: S310  # as above
            return str(json.load(answer)["choices"][0]["message"]["content"])

    return await asyncio.to_thread(call)


async def test_a_fleet_runs_and_nobody_is_refused(tmp_path: Path) -> None:
    """Dispatcher, ledger, bridge and a device that was added while the server ran answer, live and durably, and `drover` shows all;
    neither the server nor any process tells of a permission that is missing. Once removed, the device is out."""
    logs = tmp_path / "logs"
    logs.mkdir()
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(served(tmp_path))
        device = await stack.enter_async_context(simulator("orin"))
        added = await drover("device", "add", "nano", "--dir", str(fleet.path), cwd=tmp_path)
        crew = Crew(stack, logs)
        port = str(free_port())
        await crew.start("dispatcher", fleet.pack(Role.DISPATCHER), *DROVER, "dispatcher", DROVER_METRICS="off")
        await crew.start("ledger", fleet.pack(Role.LEDGER), *DROVER, "ledger", "serve")
        await crew.start("bridge", fleet.pack(Role.BRIDGE), *DROVER, "bridge", DROVER_HTTP_PORT=port)
        agent = (sys.executable, "-P", "-m", "agents")
        sensors = {"OLLAMA_HOST": device.url, "DROVER_SENSORS_URL": f"{device.url}/sim/sensors"}
        await crew.start("agent", fleet.pack(Role.DEVICE, "nano"), *agent, **sensors)
        await crew.until("the device", lambda: "device.joined" in crew.said("dispatcher"))
        await crew.until("the bridge", lambda: "bridge.listening" in crew.said("bridge"))
        await crew.until("the queue", lambda: "durable.ready" in crew.said("dispatcher"))

        text = await over_http(int(port))
        seed = str(fleet.pack(Role.PRODUCER, "acme") / SEED_FILE)
        mine = await stack.enter_async_context(Drover.connect(fleet.read().url, tenant="acme", nkey_file=seed))
        few = Options(max_tokens=4)
        live = (await mine.ask("Hi", options=few)).text
        job = await mine.submit("Hi again", options=few)
        durable = (await mine.result(job, wait_s=GUARD_S)).text
        cli = fleet.pack(Role.OPERATOR)
        devices = await drover("devices", "--json", cwd=cli, LOG_LEVEL="WARNING")
        stats = await drover("jobs", "--json", cwd=cli, LOG_LEVEL="WARNING")
        removed = await drover("device", "remove", "nano", "--dir", str(fleet.path), cwd=tmp_path)
        await crew.until("the end of the device", lambda: "bus.lost" in crew.said("agent"))
        await crew.end()

        said = {path.name: path.read_text(encoding="utf-8") for path in logs.glob("*.log")}
    server = (tmp_path / "nats.log").read_text(encoding="utf-8")
    assert [] == [
        line for line in server.splitlines() if "violation" in line.lower() and "authorization" not in line.lower()
    ]
    assert {} == {name: text for name, text in said.items() if "not_permitted" in text}
    assert "" not in {text, live, durable}
    assert (0, 0, 0, 0) == (added.status, devices.status, stats.status, removed.status)
    assert "nano" in devices.out
    assert "not_permitted" not in devices.err + stats.err
    print(os.getpid(), added.out, removed.out, stats.out[:300], NotPermitted)
    print(*server.splitlines()[-12:], sep="\n")
