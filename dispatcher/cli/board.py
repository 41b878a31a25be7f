"""What `drover up` and `drover devices` know of the fleet: devices from heartbeats, jobs from events; it draws nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from common.bus import Bus, Delivery
from common.errors import BadRequest, NotPermitted
from common.heartbeats import read_heartbeat
from common.messages import DeviceState, Heartbeat
from common.subjects import Subjects
from dispatcher.fleet import Device, Liveness
from dispatcher.roster import DeviceEvent, Roster

_WHOLE = 0.995
"""What Ollama counts for the GPU is rounded."""

_STALE = {Liveness.SUSPECT, Liveness.DEAD, DeviceState.STOPPED}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """One device as people read it."""

    name: str
    state: str
    slots: int
    in_flight: int
    loaded: tuple[str, ...]
    decode_tps: float | None
    temperature_c: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    done: int
    failed: int
    simulated: bool
    watts: float | None = None
    watts_measured: bool = False
    watts_source: str = ""
    throttling: tuple[str, ...] = ()
    power_mode: str = ""
    site: str = ""
    warnings: tuple[str, ...] = ()
    on_gpu: float | None = None
    """Which part of the models in memory its GPU holds; None without one, and while nothing is in memory."""
    battery_percent: float | None = None
    silent_s: float = 0.0
    """How long nothing was heard of it; of the rest this is the age."""

    @property
    def offloaded(self) -> bool:
        """False where a model runs on the processor though there is a GPU."""
        return self.on_gpu is None or self.on_gpu > _WHOLE

    @property
    def fresh(self) -> bool:
        """Whether the figures are of now."""
        return self.state not in _STALE


class Board:
    """The fleet as it was last heard of. `follow` keeps it fresh."""

    def __init__(self, *, suspect_after: float = 2.5, dead_after: float = 5.0) -> None:
        self._roster = Roster(suspect_after=suspect_after, dead_after=dead_after)
        self._heard_s: dict[str, float] = {}
        self._on_beat: list[Callable[[Heartbeat, float], None]] = []
        self.jobs: dict[str, int] = {}
        """How many jobs ended in which state."""

    def on_change(self, listener: Callable[[DeviceEvent], None]) -> None:
        """Call `listener` whenever a device joins, falls silent, comes back or leaves."""
        self._roster.on_change(listener)

    def on_beat(self, listener: Callable[[Heartbeat, float], None]) -> None:
        """Call `listener` with each heartbeat, and when it came."""
        self._on_beat.append(listener)

    def hear(self, subjects: Subjects, delivery: Delivery) -> None:
        """Take in a heartbeat; one that can't be read is passed over: the dispatcher reports it."""
        try:
            beat = read_heartbeat(delivery, subjects)
        except BadRequest:
            return
        self._heard_s[beat.device] = now_s = monotonic()
        self._roster.observe(beat, now_s)
        for listener in self._on_beat:
            listener(beat, now_s)

    def count(self, subjects: Subjects, delivery: Delivery) -> None:
        """Take in the end of a job."""
        _evt, _job, state, *_ = subjects.tokens(delivery.subject)
        self.jobs[state] = self.jobs.get(state, 0) + 1

    def beats(self) -> list[Heartbeat]:
        """Give the last heartbeat of each device, by name."""
        return [device.beat for device in self._devices()]

    def lines(self) -> list[DeviceLine]:
        """Give the devices as they are now, by name."""
        now_s = monotonic()
        self._roster.sweep(now_s)
        return [_line(device, now_s - self._heard_s[device.name]) for device in self._devices()]

    def _devices(self) -> Sequence[Device]:
        return sorted(self._roster.fleet.devices.values(), key=lambda device: device.name)


@asynccontextmanager
async def follow(bus: Bus, board: Board, subjects: Subjects) -> AsyncIterator[None]:
    """Feed the board from the bus for the life of the context. Raises `NotPermitted` for who may not hear devices: a fleet that
    can't be seen is not an empty one."""
    beats = await bus.subscribe(subjects.heartbeat("*"), lambda delivery: board.hear(subjects, delivery), pending=4096)
    jobs = await bus.subscribe(subjects.job_event("*", "*"), lambda delivery: board.count(subjects, delivery))
    try:
        await bus.flush()
        if beats.refused:
            raise NotPermitted(f"the fleet can't be seen: {beats.refused}", subject=subjects.heartbeat("*"))
        yield
    finally:
        if bus.connected:
            await beats.unsubscribe()
            await jobs.unsubscribe()


def _line(device: Device, silent_s: float) -> DeviceLine:
    beat = device.beat
    measured = [(speed.jobs, speed.decode_tps) for speed in beat.speeds.values() if speed.decode_tps is not None]
    known = beat.memory_total_bytes is not None and beat.memory_available_bytes is not None
    return DeviceLine(
        name=device.name,
        state=_state(device),
        slots=beat.slots,
        in_flight=beat.in_flight,
        loaded=tuple(model.name for model in beat.models if model.loaded),
        decode_tps=max(measured)[1] if measured else None,  # of the model with the most jobs
        temperature_c=beat.temperature_c,
        memory_used_bytes=(beat.memory_total_bytes or 0) - (beat.memory_available_bytes or 0) if known else None,
        memory_total_bytes=beat.memory_total_bytes,
        done=beat.done,
        failed=beat.failed,
        simulated=beat.simulated,
        watts=beat.watts,
        watts_measured=bool(beat.watts_measured),
        watts_source=beat.watts_source or "",
        throttling=beat.throttling,
        power_mode=beat.power_mode or "",
        site=beat.site or "",
        warnings=beat.warnings,
        on_gpu=_on_gpu(beat),
        battery_percent=beat.battery_percent,
        silent_s=silent_s,
    )


def _on_gpu(beat: Heartbeat) -> float | None:
    """Give the part of what is in memory that the GPU holds. What a device without one, or with models elsewhere, says of it is
    nothing; one that does not say whether it has one is believed when it uses it."""
    loaded = [model for model in beat.models if model.loaded and model.memory_bytes]
    held = sum(min(model.gpu_bytes, model.memory_bytes) for model in loaded)
    if not loaded or beat.remote or beat.gpu is False or (beat.gpu is None and not held):
        return None
    return held / sum(model.memory_bytes for model in loaded)


def _state(device: Device) -> str:
    """What we hear counts for more than what the device said last."""
    if device.beat.state is DeviceState.STOPPED:
        return str(DeviceState.STOPPED)
    if device.liveness is not Liveness.ALIVE:
        return str(device.liveness)
    if device.beat.state is DeviceState.READY and (device.beat.throttled or device.beat.throttling):
        return "throttled"
    return str(device.beat.state)
