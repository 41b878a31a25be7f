"""Whether a chat can be answered now, as each who looks may know it; what is told at `/health` to this machine, for keys."""

from __future__ import annotations

from typing import Any

from common import codec
from common.bus import Bus
from common.keys import Scope
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.presence import Health, Presence, Word, allowed, judge
from dispatcher.bridge.sse import event

Audience = tuple[object, ...]


class FleetFacts:
    """What is told of the fleet as a whole. `ask` brings a dispatcher's word, and before the first nothing is told: that none
    answers is only known when one was asked."""

    def __init__(self, presence: Presence, bus: Bus) -> None:
        self._presence = presence
        self._bus = bus
        self._word: Word | None = None
        self._asked = False
        self._made: dict[Audience, bytes] = {}

    async def ask(self) -> None:
        """Ask a dispatcher; takes a second at most."""
        self._word = await self._presence.word()
        self._asked = True
        self.look()

    def look(self) -> None:
        """Have what is told be worked out anew, once for all who may know the same."""
        self._made.clear()

    def told(self, caller: Caller) -> bytes:
        """Write all that a caller may know now; nothing while nobody knows."""
        if not self._asked:
            return b""
        audience = audience_of(caller)
        if audience not in self._made:
            self._made[audience] = self._event(caller)
        return self._made[audience]

    def _event(self, caller: Caller) -> bytes:
        fleet = allowed(self._presence.fleet(), caller.grant)
        health = judge(fleet, word=self._word, bus=self._bus.connected)
        told = facts_of(health, fully=caller.may(Scope.FLEET))
        if not caller.sees_all and "dispatcher_devices" in told:
            told["dispatcher_devices"] = [name for name in told["dispatcher_devices"] if name in fleet.devices]
        return event(codec.encode(told), name="fleet")


def audience_of(caller: Caller) -> Audience:
    """Give what decides what a caller may know of the fleet."""
    grant = caller.grant
    return (caller.may(Scope.FLEET), *(() if grant is None else (grant.models, grant.devices)))


def facts_of(health: Health, *, fully: bool) -> dict[str, Any]:
    """Say whether a chat can be answered, and by how many devices; `fully` also what concerns only who sees the fleet."""
    facts = health.facts
    states, models = facts["devices"], facts["models"]
    told = {
        "reason": health.reason,
        "counts": {"devices": len(states), "ready": list(states.values()).count("ready"), "models": len(models)},
        **{name: facts[name] for name in ("devices", "models", "dispatcher", "bus")},
    }
    return told | ({name: facts[name] for name in ("warnings", "dispatcher_devices", "cache")} if fully else {})
