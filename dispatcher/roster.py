"""The roster: who is in the fleet, kept from heartbeats and from this dispatcher's own attempts.

It owns this state and is the only one to change it; it knows neither the bus nor the steps. Time is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from common.messages import DeviceState, Heartbeat, ModelInfo
from dispatcher import breaker as breakers
from dispatcher.breaker import Breaker, BreakerState
from dispatcher.fleet import Device, Fleet, Liveness, canonical, tracked

ANSWERED_S = 2.0
"""So long a model that has answered is held to be in memory, whatever heartbeats say: an agent looks what is loaded a quarter of a
second behind a job at best, and a busy one needs more. Else the next turn of a conversation would find it not loaded, and go
elsewhere."""


class Change(StrEnum):
    """What happened to a device; the names of its events."""

    JOINED = "joined"
    CHANGED = "changed"  # other state, or other models on disk: who can answer is another question now
    ROOM = "room"  # other slots, other models in memory, or fewer jobs of other dispatchers
    SUSPECT = "suspect"
    LOST = "lost"
    RECOVERED = "recovered"
    RESTARTED = "restarted"  # a new boot id: every attempt it had is gone
    LEFT = "left"  # it said good-bye
    TRIPPED = "tripped"  # its breaker opened
    FORGOTTEN = "forgotten"  # dead for so long that the roster has dropped it
    RESTORED = "restored"  # its breaker lets jobs through again, or one for a trial


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """A change, and the device as it is now."""

    change: Change
    device: Device

    @property
    def notable(self) -> bool:
        """True for what people want to hear of; the rest is for whoever waits for a slot."""
        return self.change not in {Change.CHANGED, Change.ROOM, Change.FORGOTTEN}


@dataclass(slots=True)
class _Seen:
    """What was heard of a device. `answered` are models that answered although it had not told that they are in memory, and when;
    `unkept` are those of which it never told so afterwards: they leave it with their job."""

    at_s: float
    boot: str
    seq: int
    before: str = ""
    answered: dict[str, float] = field(default_factory=dict)
    unkept: set[str] = field(default_factory=set)

    def settle(self, models: Mapping[str, ModelInfo], now_s: float) -> None:
        """Take in what a heartbeat says of these models."""
        for name, at_s in list(self.answered.items()):
            if _loaded(models, name):
                del self.answered[name]
            elif now_s - at_s > ANSWERED_S:
                del self.answered[name]
                self.unkept.add(name)
        self.unkept = {name for name in self.unkept if not _loaded(models, name)}


class Roster:
    """Folds heartbeats into a `Fleet`. A heartbeat counts from its arrival: clocks of devices are not trusted."""

    def __init__(
        self,
        *,
        dispatcher: str = "",
        suspect_after: float = 2.5,
        dead_after: float = 5.0,
        forget_after_s: float = 3600.0,
    ) -> None:
        self._dispatcher = dispatcher
        self.age_by(suspect_after, dead_after, forget_after_s)
        self._devices: dict[str, Device] = {}
        self._seen: dict[str, _Seen] = {}
        self._listeners: list[Callable[[DeviceEvent], None]] = []
        self.stale_beats = 0

    @property
    def fleet(self) -> Fleet:
        """The fleet now. Cheap: a view on values that never change."""
        return Fleet(self._devices)

    def age_by(self, suspect_after: float, dead_after: float, forget_after_s: float) -> None:
        """Say when a device is suspect and dead, in intervals of its heartbeat, and when it is forgotten."""
        self._suspect_after, self._dead_after = suspect_after, dead_after
        self._forget_after_s = forget_after_s

    def on_change(self, listener: Callable[[DeviceEvent], None]) -> None:
        """Call `listener` at every change, after the roster has it."""
        self._listeners.append(listener)

    def observe(self, beat: Heartbeat, now_s: float) -> bool:
        """Take in one heartbeat; False for one that is dropped.

        1. An old sequence number of the same boot, or the boot before: a late or replayed beat, dropped.
        2. A new device joins. 3. A new boot id: restarted. 4. Known and not alive: recovered. 5. Good-bye: left.
        6. Other state or models: changed. 7. Other slots, other models in memory, fewer jobs of other dispatchers: room.
        """
        seen, old = self._seen.get(beat.device), self._devices.get(beat.device)
        if seen is not None and _late(seen, beat):  # 1
            self.stale_beats += 1
            return False
        before = "" if seen is None else (seen.before if seen.boot == beat.boot else seen.boot)
        self._seen[beat.device] = now = _Seen(now_s, beat.boot, beat.seq, before)
        new = self._device(beat, old)
        if seen is not None and seen.boot == beat.boot and (seen.answered or seen.unkept):
            now.answered, now.unkept = seen.answered, seen.unkept
            now.settle(new.models, now_s)
            new = replace(new, answered=frozenset(now.answered))
        self._devices[beat.device] = new
        change = _change(old, new)
        if change is not None:
            self._tell(change, new)
        return True

    def sweep(self, now_s: float) -> None:
        """Mark devices whose heartbeats are missing; call it a few times a second."""
        for name, seen in list(self._seen.items()):
            device = self._devices[name]
            silent_s = now_s - seen.at_s
            # Only a dead one: whoever waits for its answer must have heard that it is lost.
            if device.liveness is Liveness.DEAD and silent_s > self._forget_after_s:
                del self._seen[name], self._devices[name]
                self._tell(Change.FORGOTTEN, device)
            elif device.beat.state is not DeviceState.STOPPED:
                self._age(device, silent_s / device.beat.interval_s)
                self._set_breaker(name, breakers.aged(device.breaker, now_s))

    def take(self, name: str) -> None:
        """Count one attempt of ours on the device."""
        device = self._devices[name]
        self._devices[name] = _holding(device, device.own + 1)

    def release(self, name: str) -> None:
        """Count one attempt of ours less; the device may have been forgotten meanwhile."""
        device = self._devices.get(name)
        if device is not None:
            self._devices[name] = _holding(device, max(0, device.own - 1))

    def refused(self, name: str) -> None:
        """The device said that it is full: believe it until its next heartbeat."""
        device = self._devices.get(name)
        if device is not None:
            self._devices[name] = replace(device, others=max(device.others, device.beat.slots - device.own + 1))

    def attempt_succeeded(self, name: str, model: str, first_token_s: float | None, now_s: float) -> None:
        """Note that an attempt ended well, for the health term and the breaker; `first_token_s` of a model that was in memory. The
        model is now."""
        device = self._devices.get(name)
        if device is not None:
            track = tracked(device.track, ok=True, first_token_s=first_token_s)
            self._devices[name] = replace(device, track=track)
            self._set_breaker(name, breakers.succeeded())
            self._has_answered(name, canonical(model), now_s)

    def attempt_failed(self, name: str, why: str, now_s: float) -> None:
        """Note that a device failed an attempt; several in a row open its breaker."""
        device = self._devices.get(name)
        if device is not None:
            track = tracked(device.track, ok=False, first_token_s=None)
            self._devices[name] = replace(device, track=track)
            self._set_breaker(name, breakers.failed(device.breaker, why, now_s))

    def hung(self, name: str, why: str, now_s: float) -> None:
        """Note that the backend of a device does not work, though its agent lives."""
        device = self._devices.get(name)
        if device is not None:
            self._set_breaker(name, breakers.tripped(device.breaker, why, now_s))

    def unheard(self, name: str) -> None:
        """Note that nobody listens on a device's subjects: suspect until its next heartbeat."""
        device = self._devices.get(name)
        if device is not None and device.liveness is Liveness.ALIVE:
            self._mark(device, Liveness.SUSPECT, Change.SUSPECT)

    def _has_answered(self, name: str, model: str, now_s: float) -> None:
        """Believe that a model is in memory, if its device has not told so."""
        device, seen = self._devices[name], self._seen[name]
        if model not in device.models or _loaded(device.models, model) or model in seen.unkept:
            return
        seen.answered[model] = now_s
        if model not in device.answered:
            self._devices[name] = new = replace(device, answered=device.answered | {model})
            self._tell(Change.ROOM, new)

    def _set_breaker(self, name: str, breaker: Breaker) -> None:
        """Keep it, and say so when it lets jobs through that it kept out before, or the other way round."""
        device = self._devices[name]
        if device.breaker == breaker:
            return
        before, new = device.breaker.state, replace(device, breaker=breaker)
        self._devices[name] = new
        if breaker.state is not before:
            self._tell(Change.TRIPPED if breaker.state is BreakerState.OPEN else Change.RESTORED, new)

    def _device(self, beat: Heartbeat, old: Device | None) -> Device:
        others = sum(max(0, count) for name, count in beat.jobs_by_dispatcher.items() if name != self._dispatcher)
        liveness = Liveness.DEAD if beat.state is DeviceState.STOPPED else Liveness.ALIVE
        if old is None:
            return Device(beat, _models(beat), liveness, 0, others)
        # A new process deserves a new chance.
        breaker = old.breaker if old.beat.boot == beat.boot else breakers.CLOSED
        # A heartbeat that repeats the models as they were keeps the old index: with 1,000 devices this is the hot path.
        models = old.models if old.beat.models == beat.models else _models(beat)
        return Device(beat, models, liveness, old.own, others, old.track, breaker)

    def _age(self, device: Device, intervals: float) -> None:
        if intervals > self._dead_after and device.liveness is not Liveness.DEAD:
            self._mark(device, Liveness.DEAD, Change.LOST)
        elif self._dead_after >= intervals > self._suspect_after and device.liveness is Liveness.ALIVE:
            self._mark(device, Liveness.SUSPECT, Change.SUSPECT)

    def _mark(self, device: Device, liveness: Liveness, change: Change) -> None:
        marked = replace(device, liveness=liveness)
        self._devices[device.name] = marked
        self._tell(change, marked)

    def _tell(self, change: Change, device: Device) -> None:
        for listener in self._listeners:
            listener(DeviceEvent(change, device))


def _late(seen: _Seen, beat: Heartbeat) -> bool:
    return beat.boot == seen.before or (beat.boot == seen.boot and beat.seq <= seen.seq)


def _holding(device: Device, own: int) -> Device:
    """Give the device with another count of our attempts; written out, since `replace` is slow and this runs twice a job."""
    return Device(
        device.beat,
        device.models,
        device.liveness,
        own,
        device.others,
        device.track,
        device.breaker,
        device.answered,
    )


def _loaded(models: Mapping[str, ModelInfo], name: str) -> bool:
    info = models.get(name)
    return info is not None and info.loaded


def _models(beat: Heartbeat) -> dict[str, ModelInfo]:
    return {canonical(model.name): model for model in beat.models}


def _change(old: Device | None, new: Device) -> Change | None:
    if new.beat.state is DeviceState.STOPPED:  # 5
        return Change.LEFT if old is not None and old.beat.state is not DeviceState.STOPPED else None
    if old is None:  # 2
        return Change.JOINED
    if old.beat.boot != new.beat.boot:  # 3
        return Change.RESTARTED
    if old.liveness is not Liveness.ALIVE:  # 4
        return Change.RECOVERED
    if old.beat.state is not new.beat.state or old.models.keys() != new.models.keys():  # 6
        return Change.CHANGED
    same = old.beat.slots == new.beat.slots and old.models is new.models and old.others <= new.others
    return None if same else Change.ROOM  # 7
