"""Two fleets for the pages: one whose devices are simulated, and one whose answers a test writes; neither knows a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from common import errors, key_client
from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.key_requests import AddKey
from common.keys import Scope
from common.subjects import Subjects
from tests.bridge_process import BridgeProcess, bridge_process
from tests.commands import Running, running
from tests.integration.ledger.ledgers import LedgerProcess, ledger_process
from tests.nats_server import NatsServer, nats_server
from tests.scripted_fleet import PREFIX, ScriptedFleet, scripted_fleet

READY = r"drover is up: (http://127\.0\.0\.1:\d+)  \((nats://127\.0\.0\.1:\d+)\)"
GUARD_S = 60.0
POLL_S = 0.05
SUBJECTS = Subjects(PREFIX)
EVERYTHING = (Scope.CHAT, Scope.ROUTE, Scope.FLEET, Scope.ADMIN)
PATIENT = {"DROVER_LEDGER": "on", "DROVER_METRICS": "off"}

DEVICES = {"nano": ("llama3.2:1b", "embedder:1b"), "orin": ("llama3.2:1b", "llama3.2:3b")}
"""Of the scripted house."""


@dataclass(slots=True)
class House:
    """A real fleet of simulated devices with its ledger, all below one `drover up`; a bridge beside it that asks for keys."""

    up: Running
    url: str
    """Of the bridge that asks nobody for a key."""
    nats_url: str
    bus: Bus
    more: AsyncExitStack
    results: Path
    """Where the lab leaves what it has measured, and the bridges look for it."""
    _keyed: BridgeProcess | None = None
    _keys: dict[str, str] = field(default_factory=dict)

    async def ask(self, prompt: str, *, model: str = "auto", **fields: Any) -> dict[str, Any]:
        """Ask something to the end; gives the answer with its account."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 12, **fields}
        async with httpx.AsyncClient(base_url=self.url, timeout=GUARD_S, trust_env=False) as http:
            answer = await http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def keyed(self) -> str:
        """Give the address of the bridge that asks for keys; it is started for the first who wants it."""
        if self._keyed is None:
            settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "on"}
            self._keyed = await self.more.enter_async_context(bridge_process(self.nats_url, **settings))
            await known(self._keyed.url, devices=3)
        return self._keyed.url

    async def key(self, *scopes: Scope) -> str:
        """Give the secret of a key that may do this and no more; the same one whenever the same is wanted."""
        name = "-".join(sorted(scope.name.lower() for scope in scopes))
        if name not in self._keys:
            wanted = AddKey(name=name, user=name, scopes=scopes)
            self._keys[name] = (await key_client.add(self.bus, SUBJECTS, wanted)).secret
        return self._keys[name]

    def processes(self, device: str) -> list[psutil.Process]:
        """Give those of a device, to be killed as a power cut does: its agent and its simulator."""
        agent = self._agent(device)
        port = int(agent.environ()["OLLAMA_HOST"].rsplit(":", 1)[1])
        return [agent, *(one for one in self.up.named("agents.simulator") if _listens(one, port))]

    @asynccontextmanager
    async def hung(self, device: str) -> AsyncIterator[None]:
        """Have a device get on with nothing for the life of the context: it says that it is well, as an Ollama that hangs does."""
        url = self._agent(device).environ()["OLLAMA_HOST"]
        async with httpx.AsyncClient(base_url=url, timeout=GUARD_S, trust_env=False) as simulator:
            (await simulator.post("/sim/faults", json={"kind": "hang"})).raise_for_status()
            try:
                yield
            finally:
                (await simulator.delete("/sim/faults")).raise_for_status()

    def _agent(self, device: str) -> psutil.Process:
        [agent] = [one for one in self.up.named("agents$") if one.environ().get("DROVER_DEVICE") == device]
        return agent


@dataclass(slots=True)
class ScriptedHouse:
    """A bridge and a ledger with a fleet that says what a test writes: for states that a real one passes in a moment."""

    fleet: ScriptedFleet
    bridge: BridgeProcess
    ledger: LedgerProcess
    nats: NatsServer

    @property
    def url(self) -> str:
        return self.bridge.url

    async def anew(self) -> None:
        """Be as at first, for the next test; devices that were silent while other tests ran are there again."""
        await self.fleet.connected_again()
        self.fleet.forget()
        for device, models in DEVICES.items():
            await self.fleet.beat(device, models)
        await known(self.url, devices=len(DEVICES), models={model for models in DEVICES.values() for model in models})


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[House]:
    """Run three devices, thirty times faster than life; a few questions are answered before anybody looks."""
    knobs = {
        "DROVER_HTTP_PORT": "0",
        "DROVER_NATS_PORT": "0",
        "DROVER_HTTP_KEYS": "off",
        "DROVER_SIM_TIME_FACTOR": "30",
        "DROVER_ACCEPT_S": "10",  # a busy machine must not make every device silent
        "DROVER_METRICS": "off",
        "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there
        "LOG_LEVEL": "WARNING",  # nobody reads on while tests of other files run
    }
    async with running("up", cwd=directory, **knobs) as up, AsyncExitStack() as more:
        found = await up.until(READY)
        bus = await more.enter_async_context(connect_nats(NatsOptions(urls=(found[2],), name="house")))
        made = House(up, found[1], found[2], bus, more, directory / "results")
        await known(made.url, devices=3)
        await _lived_in(made)
        yield made


@asynccontextmanager
async def scripted_house(directory: Path) -> AsyncIterator[ScriptedHouse]:
    """Run a bridge with a ledger, and two devices that are written here."""
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server(jetstream=True))
        database = f"sqlite:///{directory / 'ledger.db'}"
        ledger = await stack.enter_async_context(ledger_process(nats.url, database, directory))
        fleet = await stack.enter_async_context(scripted_fleet(nats.url))
        settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "off"}
        bridge = await stack.enter_async_context(bridge_process(nats.url, **settings))
        await _ledger_answers(fleet.bus)
        yield ScriptedHouse(fleet, bridge, ledger, nats)


async def known(url: str, *, devices: int, models: set[str] | None = None) -> None:
    """Return when a bridge knows so many devices, with these models and no others where they are given: a page that comes before is
    told that the fleet is not available, or what it was like for another test."""
    told: Any = None
    try:
        async with asyncio.timeout(GUARD_S), httpx.AsyncClient(base_url=url, timeout=GUARD_S, trust_env=False) as http:
            while True:
                health = await http.get("/health")
                told = health.json()
                right = len(told.get("devices", ())) == devices and models in (None, set(told.get("models", ())))
                if health.status_code == 200 and right:
                    return
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        error.add_note(f"{devices} devices with {models or 'any models'} were expected, and the bridge says: {told}")
        raise


async def _lived_in(made: House) -> None:
    """Have one question answered by each device, and wait until the ledger has them: views that show what was have something."""
    await _ledger_answers(made.bus)
    async with httpx.AsyncClient(base_url=made.url, timeout=GUARD_S, trust_env=False) as http:
        cards = (await http.get("/api/v1/devices")).json()["devices"]
        asked = [made.ask("Why is the sky blue?", model=f"auto@{one['name']}") for one in cards]
        await asyncio.gather(*asked)
        async with asyncio.timeout(GUARD_S):
            while len((await http.get("/api/v1/jobs")).json()["jobs"]) < len(asked):  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(POLL_S)


async def _ledger_answers(bus: Bus) -> None:
    async with asyncio.timeout(GUARD_S):
        while True:
            try:
                await key_client.state(bus, SUBJECTS)
            except errors.FleetError:
                await asyncio.sleep(POLL_S)
            else:
                return


def _listens(process: psutil.Process, port: int) -> bool:
    return any(one.laddr and one.laddr.port == port for one in process.net_connections() if one.status == "LISTEN")
