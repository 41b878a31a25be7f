"""Which device and model read a conversation last, so that its next turn finds the prompt read already.

It has no id from anybody: it knows conversations by what they say. It is bounded, is kept nowhere else, and is only a hint; a new
dispatcher learns anew. How engines keep what they have read is modelled in `routing.warmth`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.messages import Message, Role
from dispatcher.fleet import Device, Fleet, Liveness
from dispatcher.roster import Change, DeviceEvent
from dispatcher.routing.warmth import LEAST_TOKENS, MOST_BEGINNINGS, Trail, Warmth, overwritten

MOST_NAMES = 50_000
"""Beginnings that are remembered: some 10 MB, and 5,000 conversations of five turns."""

MOST_PLACES = 4
"""Places that one conversation is looked for."""

MOST_SLOTS = 64
"""Of one model on one device, whatever it says of itself."""

Place = tuple[str, str]
"""A device, and a model by its full name."""


@dataclass(slots=True, eq=False)
class _Held:
    """A conversation in a slot; without names it is one that nothing is known of."""

    place: Place
    tenant: str
    names: tuple[int, ...]


@dataclass(slots=True)
class _Engine:
    """A loaded model: its slots, the one that was used longest ago first. `context_tokens` is what it is in memory with, as far as
    was heard; `confirmed` that its device has told that it is in memory."""

    boot: str
    context_tokens: int | None
    confirmed: bool
    slots: list[_Held] = field(default_factory=list)


@dataclass(slots=True)
class _Share:
    """What one tenant's conversations take, the one that was used longest ago first."""

    names: int = 0
    held: OrderedDict[_Held, None] = field(default_factory=OrderedDict)


class Affinity:
    """Remembers the conversations in the slots of each model on each device. Of what is too much the tenant that has most loses
    its oldest: so nobody pushes out what another one has within its share."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._names = 0
        self._engines: dict[str, dict[str, _Engine]] = {}
        self._by_name: dict[int, dict[Place, int]] = {}
        """How many slots of each place hold what begins so: thousands of conversations may share a system text."""
        self._shares: dict[str, _Share] = {}

    def __len__(self) -> int:
        """How many beginnings are remembered."""
        return self._names

    @property
    def places(self) -> int:
        """How many models on devices are followed."""
        return sum(map(len, self._engines.values()))

    def warm(self, trail: Trail) -> tuple[Warmth, ...]:
        """Say where a conversation begins in memory, and how far: the furthest of each place, the furthest places."""
        if not trail.names:
            return ()
        # Who has read a longer beginning has read the shortest too, but for one that was too long to be noted whole.
        begun = self._by_name.get(trail.names[0])
        if begun is None and len(trail.names) < MOST_BEGINNINGS:
            return ()
        most = MOST_PLACES if begun is None else min(MOST_PLACES, len(begun))
        found: dict[Place, float] = {}
        for name, tokens in zip(reversed(trail.names), reversed(trail.tokens), strict=True):
            if tokens < LEAST_TOKENS or len(found) == most:
                break
            for place in self._by_name.get(name, ()):
                found.setdefault(place, tokens)
                if len(found) == MOST_PLACES:
                    break
        return tuple(Warmth(device, model, int(tokens)) for (device, model), tokens in found.items())

    def note(self, place: Place, names: tuple[int, ...], *, tenant: str, fleet: Fleet, loaded: bool = False) -> None:
        """Remember that a conversation was read there, or with no `names` that something was. `loaded` tells that the model was
        loaded for it: what it had read before is gone. A device that is not known is not followed."""
        device = fleet.devices.get(place[0])
        if device is None:
            return
        engine = self._engine(place, device, anew=loaded)
        slots = min(MOST_SLOTS, max(1, device.beat.slots))
        number = overwritten([one.names for one in engine.slots], names, slots=slots)
        if number is not None:
            self._drop(engine, engine.slots[number])
        while len(engine.slots) >= slots:
            self._drop(engine, engine.slots[0])
        self._add(engine, _Held(place, tenant, names))
        while self._names > self._most:
            self._make_room()

    def hear(self, event: DeviceEvent) -> None:
        """Forget what a device has no more: it has gone or was restarted, or the model has left memory, or came again with
        another context."""
        device, gone = event.device, event.change is Change.FORGOTTEN or event.device.liveness is Liveness.DEAD
        for model, engine in list(self._engines.get(device.name, {}).items()):
            if gone or not _still_there(engine, device, model):
                self._forget(device.name, model)

    def _engine(self, place: Place, device: Device, *, anew: bool) -> _Engine:
        """Give the engine of a place as its device has it now; `anew` tells that it was loaded since."""
        name, model = place
        known = self._engines.get(name, {}).get(model)
        if known is not None and not anew and known.boot == device.beat.boot:
            return known
        if known is not None:
            self._forget(name, model)
        info = device.models.get(model)
        # Heartbeats lag: what the last one says is of the time before the load.
        heard = info is not None and info.loaded and not anew
        context = info.loaded_context_tokens if info is not None and heard else None
        engine = _Engine(device.beat.boot, context, confirmed=heard)
        self._engines.setdefault(name, {})[model] = engine
        return engine

    def _forget(self, device: str, model: str) -> None:
        engine = self._engines[device].pop(model)
        if not self._engines[device]:
            del self._engines[device]
        for held in list(engine.slots):
            self._drop(engine, held)

    def _add(self, engine: _Engine, held: _Held) -> None:
        engine.slots.append(held)
        if not held.names:
            return
        self._names += len(held.names)
        share = self._shares.setdefault(held.tenant, _Share())
        share.names += len(held.names)
        share.held[held] = None
        for name in held.names:
            there = self._by_name.setdefault(name, {})
            there[held.place] = there.get(held.place, 0) + 1

    def _drop(self, engine: _Engine, held: _Held) -> None:
        engine.slots.remove(held)
        if not held.names:
            return
        self._names -= len(held.names)
        share = self._shares[held.tenant]
        share.names -= len(held.names)
        del share.held[held]
        if not share.held:
            del self._shares[held.tenant]
        for name in held.names:
            there = self._by_name[name]
            there[held.place] -= 1
            if not there[held.place]:
                del there[held.place]
            if not there:
                del self._by_name[name]

    def _make_room(self) -> None:
        """Take from the tenant that has most the conversation that was used longest ago. Its slot is in use still."""
        share = max(self._shares.values(), key=lambda one: one.names)
        held = next(iter(share.held))
        engine = self._engines[held.place[0]][held.place[1]]
        number = engine.slots.index(held)
        self._drop(engine, held)
        engine.slots.insert(number, _Held(held.place, "", ()))


def goes_on(messages: Sequence[Message]) -> bool:
    """Tell whether a request is a later turn of a conversation."""
    return any(message.role is Role.ASSISTANT for message in messages)


def _still_there(engine: _Engine, device: Device, model: str) -> bool:
    """Tell whether an engine is the one that is known, and take in what its device says of it."""
    info = device.models.get(model)
    if info is None or device.beat.boot != engine.boot or (engine.confirmed and not info.loaded):
        return False
    if not info.loaded:
        return True  # it is being loaded, or its heartbeat has not noticed yet
    engine.confirmed = True
    before, engine.context_tokens = engine.context_tokens, info.loaded_context_tokens or engine.context_tokens
    return before in {None, engine.context_tokens}
