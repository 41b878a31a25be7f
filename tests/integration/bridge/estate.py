"""A whole fleet of real processes that asks for keys: broker, dispatcher, agent, ledger and bridge, at DEBUG."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from common import key_client
from common.errors import FleetError
from common.key_requests import AddKey
from common.keys import Scope
from common.subjects import Subjects
from tests.bridge_process import BridgeProcess, bridge_process
from tests.chaos.members import Member
from tests.chaos.world import POLL_S, ROOT, Plan, World, world
from tests.commands import DROVER, clean_environment
from tests.experiments import left
from tests.otlp_receiver import Receiver, otlp_receiver

SUBJECTS = Subjects("llm.v1")
HANG_S = 60.0
NATS_PASSWORD = "canary-nats-5b1e"
ORDINARY = (Scope.CHAT, Scope.ROUTE, Scope.FLEET)
LOUD = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}


@dataclass(slots=True)
class Estate:
    """All of it, and a client without a key."""

    fleet: World
    ledger: Member
    bridge: BridgeProcess
    http: httpx.AsyncClient
    traces: Receiver
    environment: dict[str, str]
    """What the ledger and the bridge were started with."""
    made: list[str] = field(default_factory=list)

    async def key(self, **fields: Any) -> str:
        """Make a key that may do what people do, and give its secret."""
        wanted = {"name": f"k{len(self.made)}", "scopes": ORDINARY, **fields}
        issued = await key_client.add(self.fleet.bus, SUBJECTS, AddKey(**wanted))
        self.made.append(issued.grant.key)
        return issued.secret

    def logs(self) -> str:
        """Everything that any process has written."""
        members = [*self.fleet.members, self.ledger]
        return "".join([*(one.log.read_text() for one in members), *self.bridge.said])


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@asynccontextmanager
async def estate(directory: Path, **knobs: str) -> AsyncIterator[Estate]:
    """Run one for the life of the context; it serves, and has a key, when the context is entered."""
    async with AsyncExitStack() as stack:
        database = {"DATABASE_URL": f"sqlite:///{directory / 'ledger.db'}", "DROVER_LEDGER": "on"}
        traces = await stack.enter_async_context(otlp_receiver())
        knobs |= LOUD | {"DROVER_LEDGER": "on", "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url}
        plan = Plan(dispatchers=1, echo=1, knobs=knobs)
        fleet = await stack.enter_async_context(world(plan))

        async def answers(_: Member) -> None:
            while True:
                try:
                    await key_client.state(fleet.bus, SUBJECTS)
                except FleetError:
                    await asyncio.sleep(POLL_S)
                else:
                    return

        # The server asks for none; a password in an address is to be found nowhere all the same.
        url = fleet.nats.url.replace("://", f"://drover:{NATS_PASSWORD}@")
        left(directory)
        knobs |= database | {"DROVER_HTTP_KEYS": "on", "DROVER_HTTP_RESULTS": str(directory)}
        environment = clean_environment(PYTHONPATH=str(ROOT), NATS_URL=url, **knobs)
        command = (*DROVER, "ledger", "serve")
        ledger = Member(
            name="ledger", command=command, environment=environment, directory=fleet.directory, ready=answers
        )
        stack.push_async_callback(ledger.clear)
        await ledger.start()
        bridge = await stack.enter_async_context(bridge_process(url, **knobs))
        client = httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False)
        http = await stack.enter_async_context(client)
        yield Estate(fleet, ledger, bridge, http, traces, environment)
