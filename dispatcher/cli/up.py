"""`drover up`: NATS, dispatcher, bridge and agents on one machine, in the foreground, until Ctrl-C.

It starts processes and watches them; what they do with one another is theirs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from common import lifecycle, metrics
from common.addresses import OFF
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.errors import ConfigError, FleetError
from common.exposure import PATH
from common.lifecycle import Stop
from common.logs import configure
from common.settings import load
from common.subjects import Subjects
from dispatcher.cli import http_probe, nats_server, plan, ports
from dispatcher.cli.board import Board, follow
from dispatcher.cli.cast import CLOUD, Cast, log_format, simulator_url
from dispatcher.cli.config import require_startable
from dispatcher.cli.http_door import HttpDoor, has_keys
from dispatcher.cli.plan import SimulatedDevice
from dispatcher.cli.processes import Child, Life, LifeEvent, Spec, Tiers
from dispatcher.cli.running import fail
from dispatcher.cli.state import Addresses, StateDir
from dispatcher.cli.up_knobs import answering
from dispatcher.cli.up_view import Lines, Screen, View
from dispatcher.roster import DeviceEvent
from dispatcher.settings import BridgeSettings, DispatcherSettings, LedgerSettings, UpSettings
from dispatcher.settings.exposed import needs_a_key
from dispatcher.settings.metrics import DEFAULT_PORT

T = TypeVar("T")

LOOPBACK = "127.0.0.1"

KEYS_HINT = {
    "none": ("  keys:    none, so only this machine is let in; `drover keys add NAME` makes one",),
    "off": ("  keys:    nobody is asked for one (DROVER_HTTP_KEYS, DROVER_LEDGER)",),
    "needed": ("  keys:    needed; `drover keys list` shows those there are",),
}
POLL_S = 0.05
DRAW_S = 0.5
READY_S = 60.0
"""A slow board imports numpy for half a minute; who takes longer has a trouble that the logs tell."""
OLLAMA_WAIT_S = 1.0


def up() -> int:
    """Run the fleet; gives the exit status: 0 after a stop by signal, 1 when it could not start."""
    try:
        settings = load(UpSettings)
        for tree in (
            DispatcherSettings,
            BridgeSettings,
            LedgerSettings,
        ):  # what they would die of is said before they are started
            load(tree)
        require_startable(settings)
    except FleetError as error:
        return fail(error)
    with Screen() if sys.stdout.isatty() else nullcontext(Lines()) as view:
        # Only now, because the screen puts itself before standard error.
        level = "WARNING" if settings.log.level == "INFO" else settings.log.level
        configure("up", level=level, fmt=log_format(settings.log))
        status = lifecycle.run(lambda stop: serve(settings, stop, view))
    return 1 if status == lifecycle.CANT_WORK else status


async def serve(settings: UpSettings, stop: Stop, view: View) -> None:
    """Bring everything up, run until `stop`, take everything down. Raises `FleetError` when it does not come up."""
    if lifecycle.heeds_hangup():
        view.on_loss(stop.request)  # make keeps the SIGHUP of a terminal that closes to itself, and waits for us
    state = StateDir(settings.up.state_dir)
    with state.held():
        async with asyncio.TaskGroup() as children:
            supervisor = _Supervisor(settings, state, view, children)
            try:
                async with asyncio.TaskGroup() as work:
                    running = work.create_task(supervisor.run(), name="up")
                    await stop.wait()
                    running.cancel()
            finally:
                view.close()
                if stop.requested:
                    view.say("drover is stopping (Ctrl-C again to kill)")
                await supervisor.stop()
    view.say("drover is down")
    stop.signal = None  # to be stopped is how this ends: status 0, not death by the signal


class _Supervisor:
    """The processes of one fleet, from the port check to the last one's end."""

    def __init__(self, settings: UpSettings, state: StateDir, view: View, children: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._state = state
        self._view = view
        self._tiers = Tiers(children)
        self._lives: dict[str, LifeEvent] = {}
        self._stillborn: LifeEvent | None = None
        self._http: HttpDoor | None = None
        self._metrics = ""
        self._keys = ""
        self._unheard = ""
        """The address on which nobody listens, since there is no key."""
        self._ready = False
        self._stopping = False
        self._board = Board()
        self._board.on_change(self._on_device)

    async def run(self) -> None:
        """Start everything, say when it is ready, then keep the screen fresh until cancelled."""
        cast, program = self._prepare()
        if self._settings.up.cloud_models.strip():
            await _check_agent(cast.cloud_agent())
        devices = await self._devices()
        if program is not None:
            self._start(cast.nats(program))
            await self._until(lambda: _speaks_nats(urlsplit(cast.nats_url).port or 4222), "the NATS server")
        simulators = {device: cast.simulator(device) for device in devices}
        self._start(*simulators.values())
        bus_section = self._settings.bus.model_copy(update={"url": cast.nats_url})
        subjects = Subjects(self._settings.bus.prefix)
        async with (
            connect_nats(options_from(bus_section, name="drover-up")) as bus,
            follow(bus, self._board, subjects),
            answering(bus, subjects, self._settings),
        ):
            if self._settings.ledger.enabled:
                self._start(cast.ledger())
            self._start(cast.dispatcher())
            if needs_a_key(self._settings) and not await self._until(partial(has_keys, bus, subjects), "the ledger"):
                cast = self._withdrawn(cast)
            self._start(cast.bridge())
            await self._start_agents(cast, simulators)
            await self._await_ready(cast, max(1, len(devices)))
            while True:
                self._view.draw(self._board, self._troubles())
                await asyncio.sleep(DRAW_S)

    async def stop(self) -> None:
        """Stop all processes, the agents first."""
        self._stopping = True
        try:
            await self._tiers.stop()
        finally:
            if self._http is not None:
                self._http.close()

    def _prepare(self) -> tuple[Cast, str | None]:
        """Find out, before anything is started, whether it can be: programs and ports."""
        settings = self._settings
        self._http = door = HttpDoor(settings.bridge, held=settings.up.restart)
        if "url" in settings.bus.model_fields_set:
            url = settings.bus.url
            self._view.say(f"using the NATS server at {_shown(url)} (NATS_URL)")
            return self._cast(url, door), None
        program = nats_server.program(settings.up.nats_server)
        nats_port = ports.require_free(
            LOOPBACK,
            settings.up.nats_port,
            purpose="the NATS server",
            way_out="stop that, choose another port, for example DROVER_NATS_PORT=4223 make up, "
            f"or use a NATS server that runs there: NATS_URL=nats://{LOOPBACK}:{settings.up.nats_port} make up",
        )
        config = nats_server.config(host=LOOPBACK, port=nats_port, store=self._state.nats_store)
        self._state.nats_config.write_text(config, encoding="utf-8")
        url = f"nats://{LOOPBACK}:{nats_port}"
        return self._cast(url, door), program

    def _withdrawn(self, cast: Cast) -> Cast:
        """Have the bridge be there for this machine alone: the fleet runs, and so does the ledger, which a first key needs."""
        door, wanted = self._http, self._settings.bridge.host
        if door is None:
            return cast
        door.withdraw()
        self._unheard = wanted
        self._view.say(f"there is no key, so the bridge listens on {door.host} alone, and not on {wanted}")
        return replace(cast, http_host=door.host, http_fd=door.fd)

    def _cast(self, nats_url: str, door: HttpDoor) -> Cast:
        self._metrics = metrics_address(self._settings.metrics.address)
        return Cast(
            settings=self._settings,
            state=self._state,
            nats_url=nats_url,
            http_host=door.host,
            http_port=door.port,
            http_fd=door.fd,
            metrics=self._metrics,
        )

    async def _devices(self) -> list[SimulatedDevice]:
        """Give the devices to simulate; none when a real Ollama answers."""
        simulated = plan.devices(self._settings.up.devices)
        base = self._settings.ollama.host
        found = await http_probe.get(f"{base}/api/version", timeout_s=OLLAMA_WAIT_S)
        if found is not None and "version" in found.body:
            self._view.say(f"using Ollama {found.body['version']} at {base}")
            return []
        names = ", ".join(device.name for device in simulated)
        self._view.say(f"no Ollama answers at {base}: simulating {names}")
        return simulated

    async def _start_agents(self, cast: Cast, simulators: dict[SimulatedDevice, Spec]) -> None:
        if self._settings.up.cloud_models.strip():
            self._start(cast.cloud_agent())
        if not simulators:
            self._start(cast.real_agent())
            return
        agents = []
        for device, simulator in simulators.items():
            url = await self._until(partial(_listening, simulator), simulator.name)
            agents.append(cast.simulated_agent(device, url))
        self._start(*agents)

    async def _await_ready(self, cast: Cast, devices: int) -> None:
        """Wait until the bridge is healthy, and the dispatcher has heard every device."""
        http_url = _http_url(cast.http_host, cast.http_port)

        async def healthy() -> bool | None:
            self._view.draw(self._board, self._troubles())
            # A provider that can't be reached is seen in the table; it is no reason to do without the rest.
            if sum(line.state == "ready" for line in self._board.lines() if line.name != CLOUD) < devices:
                return None
            answer = await http_probe.get(f"{http_url}/health", timeout_s=OLLAMA_WAIT_S)
            if answer is None or answer.status != 200:
                return None
            self._keys = str(answer.body.get("keys", ""))
            heard = set(answer.body.get("dispatcher_devices", ())) - {CLOUD}
            return True if len(heard) >= devices else None

        await self._until(healthy, "the fleet")
        self._ready = True
        self._state.publish(Addresses(pid=os.getpid(), nats_url=cast.nats_url, http_url=http_url))
        self._view.say(f"drover is up: {http_url}  ({_shown(cast.nats_url)})")
        self._view.hint(self._hints(http_url))

    def _start(self, *specs: Spec) -> None:
        self._tiers.start(*(Child(spec, tell=self._on_life, restart=self._settings.up.restart) for spec in specs))

    async def _until(self, check: Callable[[], Awaitable[T | None]], what: str) -> T:
        """Ask again and again. Raises `FleetError` when a process dies meanwhile, or after `READY_S`."""
        try:
            async with asyncio.timeout(READY_S):
                while True:
                    if self._stillborn is not None:
                        raise FleetError(_obituary(self._stillborn, "so drover up ends: mend that and start it again"))
                    found = await check()
                    if found is not None:
                        return found
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise FleetError(
                f"{what} is not ready after {READY_S:.0f} s: see the logs in {self._state.path / 'log'}"
            ) from error

    def _on_life(self, event: LifeEvent) -> None:
        self._lives[event.name] = event
        if event.life not in {Life.ENDED, Life.DIED, Life.KEEPS_DYING} or self._stopping:
            return
        if self._ready and event.life is Life.ENDED:  # as when everything is restarted in turn: no trouble, so no log
            self._view.say(f"{event.name} ended {event.detail}, {event.outlook}")
            return
        if not self._ready and self._stillborn is None:
            self._stillborn = event
            return
        self._view.say(_obituary(event, event.outlook))

    def _on_device(self, event: DeviceEvent) -> None:
        if self._ready and event.notable and not self._stopping:
            self._view.say(f"device {event.device.name}: {event.change}")

    def _troubles(self) -> list[str]:
        bad = {Life.DIED, Life.KEEPS_DYING}
        return [
            f"{event.name}: {event.life}, {event.detail}, {event.outlook}"
            for event in self._lives.values()
            if event.life in bad
        ]

    def _hints(self, url: str) -> list[str]:
        return [
            '  ask it:  make ask PROMPT="Why is the sky blue?"',
            f"  or open  {url} in a browser",
            f"  or:      curl {url}/v1/chat/completions \\",  # both lines together can be pasted
            """    -d '{"model":"auto","messages":[{"role":"user","content":"hi"}]}'""",
            *(KEYS_HINT.get(self._keys, ()) if not self._unheard else keyless_hint(self._unheard)),
            *metrics_hint(self._metrics),
            f"  logs:    {_from_here(self._state.path / 'log')}",
            "  Ctrl-C stops everything",
        ]


def keyless_hint(host: str) -> tuple[str, ...]:
    """Say how other machines are let in, where there was no key at the start."""
    return (
        f"  keys:    none, so only this machine is let in. To have it listen on {host}:",
        "           drover keys add NAME; then stop this, and start it again",
    )


def metrics_address(setting: str, port: int = DEFAULT_PORT) -> str:
    """Say where the dispatcher is to show its metrics; where nobody said, on the usual port, unless that is taken: then nowhere,
    since nothing hangs on it. A port that somebody takes right now is the dispatcher's to log."""
    if setting or not metrics.available():
        return setting
    try:
        return f"{LOOPBACK}:{ports.require_free(LOOPBACK, port, purpose='metrics', way_out='')}"
    except ConfigError:
        return OFF


def metrics_hint(address: str) -> list[str]:
    """Say where they are; of a port that the dispatcher chooses its log tells."""
    return [] if address in {"", OFF} or address.endswith(":0") else [f"  metrics: http://{address}{PATH}"]


def _obituary(event: LifeEvent, outlook: str) -> str:
    how = f"ended {event.detail}" if event.life is Life.ENDED else f"died: {event.detail}"
    return "\n".join([f"{event.name} {how}, {outlook}", *(f"  | {line}" for line in event.log)])


def _from_here(path: Path) -> Path:
    """Name a path as short as it can be."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


async def _check_agent(spec: Spec) -> None:
    """Have an agent look at its settings before anything is started. Raises `ConfigError` with what it says."""
    process = await asyncio.create_subprocess_exec(
        *spec.argv(),
        "--check",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **spec.env},
    )
    try:
        async with asyncio.timeout(READY_S):
            _, said = await process.communicate()
    except TimeoutError as error:
        raise FleetError(
            f"{spec.name} has not looked at its settings after {READY_S:.0f} s: is this machine too busy?"
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = said.decode(errors="replace").strip().removeprefix("drover: ")
        raise ConfigError(f"{spec.name} can't work: {words}; or unset DROVER_CLOUD_MODELS, to do without paid models")


async def _listening(simulator: Spec) -> str | None:
    return simulator_url(simulator)


async def _speaks_nats(port: int) -> bool | None:
    """Tell whether a NATS server says its INFO."""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                return True if (await reader.readline()).startswith(b"INFO") else None
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None


def _http_url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104  # an address to reach, not to bind
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def _shown(urls: str) -> str:
    """Name servers without their credentials."""
    parts = [urlsplit(url if "://" in url else f"nats://{url}") for url in urls.split(",")]
    return ",".join(f"{part.scheme}://{part.hostname}:{part.port or 4222}" for part in parts)
