"""Which processes must answer when all of a fleet are asked: one that is frozen can't say that it is there.

Known are those that `drover up` started on this machine, and the devices that a dispatcher has heard. Bridges, dispatchers and
ledgers elsewhere are known by nothing but their own word.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common import codec
from common.bus import Bus
from common.errors import FleetError
from common.reload_orders import Answered
from dispatcher.cli.kin import Kin, family, lives
from dispatcher.cli.state import StateDir
from dispatcher.fleet import Liveness

_ASK = "$SRV.STATS.llm-dispatcher"
_ASK_S = 1.0

_READERS = ("drover up", "dispatcher", "bridge", "ledger", "agent")
"""How the names of processes begin that read settings; the NATS server and the simulators do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The processes of this machine, and devices by what a dispatcher thinks of them."""

    here: Sequence[Kin]
    devices: Mapping[str, str]

    def missing(self, answers: Sequence[Answered]) -> Sequence[str]:
        """Name those that did not answer. A device that is dead is none of them: it may be switched off."""
        host, agents = socket.gethostname(), _agents(answers)
        pids = {one.pid for one in answers if one.host == host}
        found = [one for one in self.here if one.pid not in pids and lives(one.pid)]
        told = {one.name for one in found}
        silent = [
            f"agent {name}"
            for name, liveness in sorted(self.devices.items())
            if liveness != Liveness.DEAD and name not in agents and not told & {"agent", f"agent-{name}"}
        ]
        return [_named(one) for one in found] + silent

    def absent(self, answers: Sequence[Answered]) -> Sequence[str]:
        """Name the devices that a dispatcher takes for dead, and that did not answer."""
        agents, here = _agents(answers), {one.name for one in self.here}
        return [
            name
            for name, liveness in sorted(self.devices.items())
            if liveness == Liveness.DEAD and name not in agents and f"agent-{name}" not in here
        ]


def _agents(answers: Sequence[Answered]) -> set[str]:
    return {one.name for one in answers if one.kind == "agent"}


def _named(one: Kin) -> str:
    return f"{one}, which is frozen (wake it: kill -CONT {one.pid})" if one.frozen else str(one)


async def known_to(bus: Bus, state: StateDir | None) -> Expected:
    """Look at this machine's fleet, where it may have one, and ask a dispatcher for its devices."""
    here = [] if state is None else [one for one in family(state) if one.name.startswith(_READERS)]
    return Expected(here=here, devices=await _devices(bus))


async def _devices(bus: Bus) -> Mapping[str, str]:
    try:
        answer = await bus.request(_ASK, b"", timeout_s=_ASK_S)
        told = codec.decode(answer.data)["endpoints"][0]["data"]["devices"]
        return {str(name): str(liveness) for name, liveness in told.items()}
    except (FleetError, LookupError, TypeError, AttributeError):
        return {}  # who may not ask, or whom nobody answers, is told of that by the question itself
