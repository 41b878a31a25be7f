"""A simulated fleet of the bench's own: `drover up` as a child, on free ports, in a directory that goes with it.

The settings of whoever runs the bench stay out: two people with one command measure one thing.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ConfigError
from common.settings import ENV_FILE
from dispatcher.cli import plan
from dispatcher.cli.cast import python
from dispatcher.cli.processes import Child, Life, LifeEvent, Spec
from dispatcher.cli.state import Addresses, StateDir
from dispatcher.lab.bench import surroundings

POLL_S = 0.05
READY_S = 90.0
"""What `drover up` allows itself, and time to start Python."""

STOP_S = 60.0
"""Its agents let jobs end, each for its grace."""

NOWHERE = "http://127.0.0.1:9"
"""The discard port: a real Ollama on this machine is not what is to be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Which devices to simulate, as `DROVER_DEVICES` has them, how much faster than life, and with which settings."""

    devices: str
    time_factor: float
    settings: Mapping[str, str] = field(default_factory=dict)


def require_devices(wanted: Simulated) -> Simulated:
    """Give it back. Raises `ConfigError` for what is no list of devices."""
    try:
        plan.devices(wanted.devices)
    except ConfigError as error:
        raise ConfigError(error.message.replace("DROVER_DEVICES", "--devices")) from error
    return wanted


@asynccontextmanager
async def house(wanted: Simulated) -> AsyncIterator[Addresses]:
    """Run the fleet for the life of the context. Raises `ConfigError` when it does not come up, with the end of its log."""
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as folder:
        state = StateDir(Path(folder) / "state")
        died: asyncio.Future[LifeEvent] = asyncio.get_running_loop().create_future()

        def on_life(event: LifeEvent) -> None:
            if event.life is Life.DIED and not died.done():
                died.set_result(event)

        child = Child(_spec(wanted, state, Path(folder) / "up.log"), tell=on_life, restart=False)
        failure: BaseException | None = None
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(child.run(), name="drover up")
            try:
                yield await _addresses(state, died)
            except BaseException as error:  # noqa: BLE001  # raised again below, as itself: the group would wrap it
                failure = error
            finally:
                if not running.done():
                    await child.stop()
        if failure is not None:
            raise failure


def _spec(wanted: Simulated, state: StateDir, log: Path) -> Spec:
    env = {
        **surroundings.cleared(os.environ, ENV_FILE),
        "DROVER_LEDGER": "off",  # it would go with the fleet, and takes a core for a second at the start
        "DROVER_METRICS": "off",
        **wanted.settings,
        "DROVER_NATS_PORT": "0",
        "DROVER_HTTP_PORT": "0",
        "DROVER_HTTP_HOST": "127.0.0.1",
        "DROVER_STATE_DIR": str(state.path),
        "DROVER_CACHE": "semantic",  # for --cache-modes on; with off each request asks for none
        "DROVER_DEVICES": wanted.devices,
        "DROVER_SIM_TIME_FACTOR": f"{wanted.time_factor:g}",
        "OLLAMA_HOST": NOWHERE,
    }
    return Spec(name="drover up", argv=lambda: python("dispatcher", "up"), log_file=log, env=env, grace_s=STOP_S)


async def _addresses(state: StateDir, died: asyncio.Future[LifeEvent]) -> Addresses:
    try:
        async with asyncio.timeout(READY_S):
            while (found := state.running()) is None:
                if died.done():
                    event = died.result()
                    last = "\n".join(f"  | {line}" for line in event.log)
                    raise ConfigError(f"the simulated fleet did not come up ({event.detail}):\n{last}")
                await asyncio.sleep(POLL_S)
            return found
    except TimeoutError as error:
        raise ConfigError(
            f"the simulated fleet is not up after {READY_S:.0f} s: try again on a machine with less to do, or "
            "give a running fleet with --url"
        ) from error
