"""A small fleet on a NATS server that lets each process do its own and nothing else."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from common.bus.nats import NatsOptions, connect_nats
from common.client import Drover
from common.ledger import Span, ask
from common.messages import Options
from common.subjects import Subjects, own_inbox
from dispatcher.cli.nats_fleet import SEED_FILE, FleetDir
from dispatcher.cli.nats_reload import reload_line
from dispatcher.cli.nats_roles import Role
from tests.commands import DROVER, GUARD_S, Running, clean_environment, drover, end, started
from tests.nats_server import free_port
from tests.simulated import simulator

FEW = Options(max_tokens=4)


def options(fleet: FleetDir, role: Role) -> NatsOptions:
    """How a user of the fleet connects."""
    return NatsOptions(
        urls=(fleet.read().url,),
        name=f"test-{role}",
        nkey_file=str(fleet.pack(role) / SEED_FILE),
        inbox_prefix=own_inbox(role),
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
        yield fleet


@asynccontextmanager
async def member(pack: Path, *command: str, **environment: str) -> AsyncIterator[Running]:
    """One of our processes, started where its pack lies, so that it reads its settings there."""
    own = {"LOG_FORMAT": "json", "DROVER_NATS_CONNECT_WAIT_S": "30", "PYTHONUNBUFFERED": "1", **environment}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=pack, env=clean_environment(**own), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.TaskGroup() as tasks:
        one = Running(process)
        tasks.create_task(one.read())
        try:
            yield one
        finally:
            await end(process)


async def over_http(port: str) -> str:
    """Ask the bridge."""
    wanted = {"model": "auto", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 4}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    def call() -> str:
        body = json.dumps(wanted).encode()
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=GUARD_S) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])

    return await asyncio.to_thread(call)


async def test_a_fleet_runs_and_nobody_is_refused(tmp_path: Path) -> None:
    """Dispatcher, ledger, bridge and a device that was added while the server ran answer, live and durably, and an operator sees
    them; neither the server nor any process tells of a permission that is missing. A device that was removed is out at once, and
    nobody else notices."""
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(served(tmp_path))
        operator = await stack.enter_async_context(connect_nats(options(fleet, Role.OPERATOR)))
        sim = await stack.enter_async_context(simulator("orin"))
        added = await drover("device", "add", "nano", "--dir", str(fleet.path), cwd=tmp_path)
        crew = [
            await stack.enter_async_context(
                member(fleet.pack(Role.DISPATCHER), *DROVER, "dispatcher", DROVER_METRICS="off")
            ),
            await stack.enter_async_context(member(fleet.pack(Role.LEDGER), *DROVER, "ledger", "serve")),
            await stack.enter_async_context(member(fleet.pack(Role.BRIDGE), *DROVER, "bridge", DROVER_HTTP_PORT="0")),
        ]
        dispatcher, ledger, bridge = crew
        device = {"OLLAMA_HOST": sim.url, "DROVER_SENSORS_URL": f"{sim.url}/sim/sensors"}
        agent = await stack.enter_async_context(
            member(fleet.pack(Role.DEVICE, "nano"), sys.executable, "-P", "-m", "agents", **device)
        )
        await dispatcher.until('"device":"nano".*"event":"device.joined"')
        await dispatcher.until("durable.ready")
        await ledger.until("ledger.ready")
        port = (await bridge.until(r"listening on http://127\.0\.0\.1:(\d+)"))[1]

        seed = str(fleet.pack(Role.PRODUCER, "acme") / SEED_FILE)
        mine = await stack.enter_async_context(Drover.connect(fleet.read().url, tenant="acme", nkey_file=seed))
        texts = [await over_http(port), (await mine.ask("Hi", options=FEW)).text]
        texts.append((await mine.result(await mine.submit("Hi again", options=FEW), wait_s=GUARD_S)).text)
        shown = await drover("devices", "--json", cwd=fleet.pack(Role.OPERATOR), LOG_LEVEL="WARNING")
        kept = await ask(operator, Subjects(), "energy", Span())

        fleet.remove(Role.DEVICE, "nano")
        told = reload_line(fleet)
        await agent.until("bus.lost")
        for one in crew:
            one.signal(signal.SIGTERM)
            await one.ended()

    server = (tmp_path / "nats.log").read_text(encoding="utf-8").splitlines()
    refused = [line for line in server if "Violation" in line and "Authorization" not in line]
    assert ([], []) == (refused, [line for one in (*crew, agent) for line in one.lines if "not_permitted" in line])
    assert "" not in texts
    assert ["reads its users anew"] * 2 == [
        text[-len("reads its users anew") :] for text in (added.out.splitlines()[1], told)
    ]
    assert (0, True, "") == (shown.status, "nano" in shown.out, shown.err)
    assert "error" not in kept
    assert [] == [line for one in crew for line in one.lines if "bus.lost" in line]
