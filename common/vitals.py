"""What heartbeats say, as figures for Prometheus: the dispatcher shows them of all devices, and an agent of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.messages import Heartbeat
from common.metrics import MOST_NAMES, Family, Labels, Numbers

Read = Callable[[Heartbeat], float | None]


@dataclass(frozen=True, slots=True)
class _Figure:
    name: str
    help: str
    read: Read


def _flag(value: bool | None) -> float | None:
    return None if value is None else float(value)


def _percent(value: float | None) -> float | None:
    return None if value is None else value / 100


_FIGURES = (
    _Figure("slots", "Jobs that the device runs at once.", lambda beat: beat.slots),
    _Figure("jobs_in_flight", "Jobs that the device runs now, those of all dispatchers.", lambda beat: beat.in_flight),
    _Figure("temperature_celsius", "How hot its hottest part is.", lambda beat: beat.temperature_c),
    _Figure("throttled", "1 while it is slower than it could be, for heat or want of power.", lambda beat: _flag(beat.throttled)),
    _Figure("warnings", "What its owner should look at.", lambda beat: len(beat.warnings)),
    _Figure("power_watts", "What it draws now.", lambda beat: beat.watts),
    _Figure("power_measured", "1 when a sensor tells its watts, 0 for an estimate.", lambda beat: _flag(beat.watts_measured)),
    _Figure("idle_watts", "What it draws without a job.", lambda beat: beat.idle_w),
    _Figure("memory_bytes", "Its memory.", lambda beat: beat.memory_total_bytes),
    _Figure("memory_available_bytes", "Memory that a model could have.", lambda beat: beat.memory_available_bytes),
    _Figure("disk_bytes", "The disk that its models are on.", lambda beat: beat.disk_total_bytes),
    _Figure("disk_free_bytes", "Free space on that disk.", lambda beat: beat.disk_free_bytes),
    _Figure("battery_ratio", "How full its battery is, from 0 to 1.", lambda beat: _percent(beat.battery_percent)),
    _Figure("on_battery", "1 while it runs on its battery.", lambda beat: _flag(beat.on_battery)),
    _Figure("uptime_seconds", "How long its agent runs.", lambda beat: beat.uptime_s),
)  # fmt: skip
"""What a device does not tell has no series."""


def vitals(beats: Iterable[Heartbeat], prefix: str) -> list[Family]:
    """Give the figures of devices, `prefix` before each name; they must be as many as may be named."""
    beats = tuple(beats)
    found: list[Family] = [
        Numbers(
            name=f"{prefix}_{figure.name}",
            help=figure.help,
            labels=("device",),
            points={(beat.device,): value for beat in beats if (value := figure.read(beat)) is not None},
        )
        for figure in _FIGURES
    ]
    return [*found, _told(beats, prefix), _ended(beats, prefix), *_speeds(beats, prefix)]


def _told(beats: Iterable[Heartbeat], prefix: str) -> Family:
    """What a device is, in labels."""
    points: dict[Labels, float] = {
        (
            beat.device,
            str(beat.state),
            beat.backend,
            beat.site or "",
            beat.watts_source or "",
            str(beat.simulated).lower(),
        ): 1.0
        for beat in beats
    }
    labels = ("device", "state", "backend", "site", "power_source", "simulated")
    return Numbers(name=f"{prefix}_info", help="What the device says that it is.", labels=labels, points=points)


def _ended(beats: Iterable[Heartbeat], prefix: str) -> Family:
    points: dict[Labels, float] = {}
    for beat in beats:
        for result, count in (("done", beat.done), ("failed", beat.failed), ("refused", beat.refused)):
            points[beat.device, result] = count
    what = "Attempts at jobs since its agent started, those of all dispatchers."
    return Numbers(name=f"{prefix}_attempts", help=what, labels=("device", "result"), points=points, counts=True)


def _speeds(beats: Iterable[Heartbeat], prefix: str) -> list[Family]:
    """How fast each device is with each of its models, as it measured."""
    prefill: dict[Labels, float] = {}
    decode: dict[Labels, float] = {}
    for beat in beats:
        for model, speed in beat.speeds.items():
            if len(decode) >= MOST_NAMES:
                break
            if speed.decode_tps is not None:
                decode[beat.device, model] = speed.decode_tps
            if speed.prefill_tps is not None:
                prefill[beat.device, model] = speed.prefill_tps
    labels = ("device", "model")
    return [
        Numbers(name=f"{prefix}_decode_tokens_per_second", help="Tokens of answers.", labels=labels, points=decode),
        Numbers(name=f"{prefix}_prefill_tokens_per_second", help="Tokens of prompts.", labels=labels, points=prefill),
    ]
