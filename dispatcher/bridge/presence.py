"""What the bridge knows of the fleet from its heartbeats: which models to list, and whether it is up. It routes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import FleetError
from common.heartbeats import read_heartbeat
from common.keys import Grant
from common.logs import get_logger
from common.messages import AUTO, ChatRequest, DeviceState, ModelInfo, split_target
from common.patterns import matches
from common.subjects import Subjects
from common.virtual import resolved
from dispatcher.fleet import Device, Fleet, Liveness, canonical
from dispatcher.roster import Change, DeviceEvent, Roster
from dispatcher.settings import RosterSection

log = get_logger("bridge")

DISPATCHERS = "llm-dispatcher"
"""As dispatchers call themselves to discovery."""

DISPATCHER_STATS = f"$SRV.STATS.{DISPATCHERS}"
ASK_S = 1.0
REMEMBER_S = 1.0
"""Probes look every few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a dispatcher says of itself: which devices it takes for alive, and how its cache of answers is."""

    heard: frozenset[str]
    cache: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a chat can be answered now, and the facts behind it. `reason` is empty while it is up."""

    reason: str
    facts: dict[str, Any]


class Presence:
    """Hears heartbeats and keeps the roster that follows from them. Open it with `hear_fleet`."""

    def __init__(self, bus: Bus, subjects: Subjects, roster: Roster, clock: Clock) -> None:
        self._bus = bus
        self._subjects = subjects
        self.roster = roster
        self._clock = clock
        self._asking = asyncio.Lock()
        self._said: Word | None = None
        self._good_until_s = 0.0
        self._heard_unix_s: dict[str, float] = {}
        roster.on_change(self._forget)

    def hear(self, delivery: Delivery) -> None:
        """Take in a heartbeat; anything else on the subject is dropped."""
        try:
            beat = read_heartbeat(delivery, self._subjects)
        except FleetError as error:
            log.debug("heartbeat.garbled", subject=delivery.subject, error=error.message)
            return
        if self.roster.observe(beat, self._clock.monotonic()):
            self._heard_unix_s[beat.device] = round(self._clock.unix_s(), 3)

    def heard_unix_s(self, device: str) -> float:
        """Tell when the last heartbeat of a known device came, by the bridge's clock: those of devices are not trusted."""
        return self._heard_unix_s[device]

    def _forget(self, event: DeviceEvent) -> None:
        if event.change is Change.FORGOTTEN:
            self._heard_unix_s.pop(event.device.name, None)

    def fleet(self) -> Fleet:
        """The fleet as it is now."""
        self.roster.sweep(self._clock.monotonic())
        return self.roster.fleet

    async def health(self) -> Health:
        """Look at the fleet, and ask the dispatchers whether one is there and has heard it; takes `ASK_S` at most.

        However many want to know, the bus is asked once in `REMEMBER_S`: anybody may ask, without a key.
        """
        return judge(self.fleet(), word=await self.word(), bus=self._bus.connected)

    async def word(self) -> Word | None:
        """Give what a dispatcher says of itself, None when none answers; takes `ASK_S` at most."""
        async with self._asking:
            if self._clock.monotonic() >= self._good_until_s:
                self._said = await self._asked()
                self._good_until_s = self._clock.monotonic() + REMEMBER_S
            return self._said

    async def _asked(self) -> Word | None:
        """Ask for a dispatcher's word; None when none answers."""
        try:
            answer = await self._bus.request(DISPATCHER_STATS, b"", timeout_s=ASK_S)
            told = codec.decode(answer.data)["endpoints"][0]["data"]
            heard = frozenset(name for name, liveness in told["devices"].items() if liveness == Liveness.ALIVE)
            return Word(heard=heard, cache=_cache(told.get("cache")))
        except (FleetError, LookupError, TypeError, AttributeError):
            return None


def _cache(told: object) -> dict[str, str] | None:
    if not isinstance(told, dict):
        return None
    return {name: str(told.get(name, "")) for name in ("mode", "store", "state")}


@asynccontextmanager
async def hear_fleet(bus: Bus, subjects: Subjects, settings: RosterSection, clock: Clock) -> AsyncIterator[Presence]:
    """Listen to heartbeats for the life of the context."""
    roster = Roster(
        suspect_after=settings.suspect_after,
        dead_after=settings.dead_after,
        forget_after_s=settings.forget_after_s,
    )
    presence = Presence(bus, subjects, roster, clock)
    subscription = await bus.subscribe(subjects.heartbeat("*"), presence.hear)
    await bus.flush()  # from here on no heartbeat is missed, also one that is sent at this very moment
    try:
        yield presence
    finally:
        await subscription.unsubscribe()


def judge(fleet: Fleet, *, word: Word | None, bus: bool) -> Health:
    """Say whether a chat can be answered; `word` is a dispatcher's, None when none answers.

    What troubles the cache is told, and makes nobody unwell: a fleet without one answers all the same. So are the warnings of
    devices, and why one is throttled.

    1. No bus. 2. No dispatcher. 3. No device takes work: the reason counts what there is instead. 4. None that the dispatcher has
    heard: it has just started. 5. It is up.
    """
    states = {device.name: standing(device) for device in sorted(fleet.devices.values(), key=lambda one: one.name)}
    up = [name for name, state in states.items() if state == "ready"]
    models = sorted({model for name in up for model in fleet.devices[name].models})
    facts = {
        "devices": states,
        "warnings": dict(troubles(fleet)),
        "models": models,
        "dispatcher": word is not None,
        "dispatcher_devices": sorted(word.heard) if word is not None else [],
        "cache": word.cache if word is not None else None,
        "bus": bus,
    }
    if not bus:  # 1
        return Health("the bridge has no connection to NATS: check that it runs, and NATS_URL", facts)
    if word is None:  # 2
        return Health("no dispatcher answers: start one with `drover dispatcher` or `make up`", facts)
    if not up:  # 3
        return Health(_nobody(states), facts)
    if word.heard.isdisjoint(up):  # 4
        return Health(
            "the dispatcher has just started, and has not heard any of the devices that are ready: wait a second", facts
        )
    return Health("", facts)  # 5


def troubles(fleet: Fleet) -> Iterator[tuple[str, list[str]]]:
    """Give the devices that are alive and are throttled, or have something that their owner should look at."""
    for device in sorted(fleet.devices.values(), key=lambda one: one.name):
        beat = device.beat
        found = [*(f"throttled: {why}" for why in beat.throttling), *beat.warnings]
        if beat.throttled and not beat.throttling:
            found.insert(0, "throttled")
        if found and device.liveness is not Liveness.DEAD and beat.state is not DeviceState.STOPPED:
            yield device.name, found


def standing(device: Device) -> str:
    """One word for a device: what it says of itself while it is alive, else that it is not."""
    return str(device.beat.state if device.liveness is Liveness.ALIVE else device.liveness)


_SAYS = {str(Liveness.DEAD): "lost", str(Liveness.SUSPECT): "silent"}
"""As the page of the fleet has it: people read the reason there."""


def _nobody(states: dict[str, str]) -> str:
    if not states:
        return "no device has been heard: start one with `drover-agent` or `make up`"
    return "no device is ready: " + ", ".join(f"{name} is {_SAYS.get(state, state)}" for name, state in states.items())


def narrowed(fleet: Fleet, *, models: Sequence[str], devices: Sequence[str]) -> Fleet:
    """Give the part of a fleet that fits these patterns; empty ones fit all. A device without a model that does is out."""
    if not models and not devices:
        return fleet
    left = {name: fitting(device, models=models, devices=devices) for name, device in fleet.devices.items()}
    return Fleet({name: device for name, device in left.items() if device is not None})


def fitting(device: Device, *, models: Sequence[str], devices: Sequence[str]) -> Device | None:
    """Give a device with those of its models that fit, and what is known of them; None where it, or none of them, does."""
    if not matches(device.name, tuple(devices) or None):
        return None
    if not models:
        return device
    left = {model: info for model, info in device.models.items() if matches(model, tuple(models))}
    speeds = {model: speed for model, speed in device.beat.speeds.items() if canonical(model) in left}
    return replace(device, models=left, beat=replace(device.beat, speeds=speeds)) if left else None


def allowed(fleet: Fleet, grant: Grant | None) -> Fleet:
    """Give the part of a fleet that a key is for; all of it where no keys are asked for."""
    return fleet if grant is None else narrowed(fleet, models=grant.models, devices=grant.devices)


def present(fleet: Fleet) -> Iterator[Device]:
    """Give the devices that are there, or were a moment ago."""
    for device in fleet.devices.values():
        if device.liveness is not Liveness.DEAD and device.beat.state is not DeviceState.STOPPED:
            yield device


def may_answer(chat: ChatRequest, fleet: Fleet) -> Iterator[ModelInfo]:
    """Give the models that may answer a request, once for each device that has them: what it names, pins and is confined to."""
    wanted = resolved(chat)
    name, pinned = split_target(wanted.model)
    pinned = wanted.device or pinned
    for device in present(narrowed(fleet, models=chat.allow_models, devices=chat.allow_devices)):
        if pinned not in (None, device.name) or (wanted.local and device.beat.remote):
            continue
        for model, info in device.models.items():
            if _chats(info) if name in {AUTO, ""} else model == canonical(name):
                yield info


def _chats(info: ModelInfo) -> bool:
    return not info.capabilities or "completion" in info.capabilities


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that the fleet has now."""

    name: str
    info: ModelInfo
    devices: tuple[str, ...]
    loaded_on: tuple[str, ...]


def offers(fleet: Fleet) -> dict[str, Offer]:
    """The models on devices that are alive or only suspect, by name: a missed heartbeat must not empty a client's list."""
    found: dict[str, Offer] = {}
    for device in sorted(present(fleet), key=lambda one: one.name):
        for name, info in device.models.items():
            old = found.get(name, Offer(name, info, (), ()))
            loaded = (*old.loaded_on, device.name) if info.loaded else old.loaded_on
            found[name] = Offer(name, old.info, (*old.devices, device.name), loaded)
    return dict(sorted(found.items()))


def find(fleet: Fleet, name: str) -> Offer | None:
    """The offer of that name; `:latest` may be left out."""
    return offers(fleet).get(canonical(name))
