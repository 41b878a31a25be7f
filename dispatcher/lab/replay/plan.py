"""What is re-run, when, and with which words; pure, and it asks nobody.

Prompts were never recorded. What is sent instead is filler of the recorded length, and the answer is cut at the recorded length.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import BadRequest, ConfigError
from common.messages import AUTO, CacheWish, Message, Role, split_target
from dispatcher.cli import plan as devices_plan
from dispatcher.fleet import canonical
from dispatcher.lab.replay.records import Recorded

MOST_SPEED = 100.0
"""Faster, and what Drover and this machine take for themselves, a few tens of milliseconds a job, would count as seconds."""

MOST_PER_WALL_S = 25.0
"""Jobs that arrive in one second of the wall, at most: a fleet whose every device runs on this one machine gets no further without
being what is measured."""

MOST_LAP_S = 1800.0
"""Wall seconds that one fleet may take with one strategy."""

GAP_S = 360.0
"""Gaps in which nothing was under way are cut to this: Ollama's five minutes of keep-alive are over, and a device is as cold as
after a night."""

MOST_ARMS = 24

ALIASES = {
    "jetson-nano": "nano",
    "orin-nano": "orin",
    "orin-nx": "nx",
    "agx-orin": "agx",
    "raspberry-pi-5": "pi5",
    "raspberry-pi-4": "pi4",
    "raspberry-pi-3": "pi3",
}
"""What people call a board, and the profile that plays it."""

FLEETS_OWN = ""
"""The strategy of a fleet that is told none."""

_FILLER = (
    "the",
    "river",
    "runs",
    "past",
    "old",
    "stone",
    "walls",
    "and",
    "green",
    "hills",
    "in",
    "slow",
    "warm",
    "light",
)
_PIECE = re.compile(r"\s?[^\W\d_]{1,6}|\s?\d{1,3}|\s?[^\w\s]|_|\s+")
"""About the size of a token, as tokenizers of small models cut English."""

_TEMPLATE_TOKENS = 6
"""What simulated devices count around one message."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One fleet with one strategy."""

    devices: str
    strategy: str = FLEETS_OWN

    @property
    def fleet(self) -> str:
        """Name the fleet, to people: a board that has its usual name says what it is."""
        pairs = [(name, profile) for name, _, profile in (part.partition("=") for part in self.devices.split(","))]
        return ", ".join(
            name if ALIASES.get(name, "") == profile or not profile else f"{name}={profile}" for name, profile in pairs
        )

    @property
    def name(self) -> str:
        return f"{self.fleet}: {self.strategy}" if self.strategy else self.fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A job, and when it is due in seconds of the fleet's own time since the first."""

    job: Recorded
    number: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """When everything is due; `span_s` as it is replayed, `recorded_s` as it was, gaps and all."""

    due: tuple[Due, ...]
    span_s: float
    recorded_s: float
    gaps: int


def timetable(jobs: Sequence[Recorded]) -> Timetable:
    """Give the arrivals as they were, with idle gaps cut. `jobs` are in order of arrival."""
    due: list[Due] = []
    cut_s, gaps = 0.0, 0
    first_s = jobs[0].at_s if jobs else 0.0
    busy_until_s = first_s
    for number, job in enumerate(jobs, 1):
        idle_s = job.at_s - busy_until_s
        if idle_s > GAP_S:
            cut_s, gaps = cut_s + idle_s - GAP_S, gaps + 1
        due.append(Due(job=job, number=number, at_s=job.at_s - first_s - cut_s))
        busy_until_s = max(busy_until_s, job.at_s + (job.total_s or 0.0))
    return Timetable(
        due=tuple(due),
        span_s=due[-1].at_s if due else 0.0,
        recorded_s=busy_until_s - first_s,
        gaps=gaps,
    )


def require_sane(table: Timetable, speed: float) -> None:
    """Raise `BadRequest` where compressing time that far would measure this machine, or take too long."""
    if speed > MOST_SPEED:
        raise BadRequest(
            f"--speed {speed:g} is too fast: above {MOST_SPEED:g} what Drover itself takes would count as seconds of the devices"
        )
    bound = max(MOST_PER_WALL_S, peak(table, 1.0))  # what came at once did so in life, too
    if (rate := peak(table, speed)) > bound:
        slower = max((wanted for wanted in range(1, int(speed) + 1) if peak(table, wanted) <= bound), default=1)
        raise BadRequest(
            f"--speed {speed:g} would have {rate:.0f} jobs arrive in one second, and this machine plays all devices: "
            f"give --speed {slower} or less"
        )
    if (lap_s := table.span_s / speed) > MOST_LAP_S:
        faster = table.span_s / MOST_LAP_S
        way_out = f"--speed {faster:.0f}, or " if faster <= MOST_SPEED else ""
        raise BadRequest(
            f"at --speed {speed:g} each fleet would take {lap_s / 60:.0f} minutes: give {way_out}a smaller --limit"
        )


def peak(table: Timetable, speed: float) -> float:
    """Give the most jobs that arrive in one second of the wall."""
    at = [one.at_s / speed for one in table.due]
    most, first = 0, 0
    for last in range(len(at)):
        while at[last] - at[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return float(most)


def arms(fleets: Sequence[str], strategies: Sequence[str]) -> tuple[Arm, ...]:
    """Give each fleet with each strategy. Raises `ConfigError` for what is no fleet, `BadRequest` for too many."""
    found = tuple(Arm(fleet(text), name) for text in fleets for name in (strategies or [FLEETS_OWN]))
    if len(found) > MOST_ARMS:
        raise BadRequest(f"{len(found)} runs are too many: give fewer --devices or --strategy, {MOST_ARMS} in all")
    return tuple(dict.fromkeys(found))


def fleet(text: str) -> str:
    """Give a list of devices as `DROVER_DEVICES` has it, each with its profile. Raises `ConfigError` for one that there is not."""
    try:
        listed = devices_plan.devices(text)
    except ConfigError as error:
        raise ConfigError(error.message.replace("DROVER_DEVICES", "--devices")) from error
    played = [(device.name, ALIASES.get(device.profile, device.profile)) for device in listed]
    unknown = [profile for _, profile in played if profile not in devices_plan.ROLES]
    if unknown:
        boards = ", ".join(devices_plan.ROLES)
        raise ConfigError(f"--devices: {unknown[0]!r} is no board that can be simulated: use {boards}")
    return ",".join(name if name == profile else f"{name}={profile}" for name, profile in played)


def tokens_of(text: str) -> int:
    """Estimate the tokens of a message."""
    return sum(1 for _ in _PIECE.finditer(text)) + _TEMPLATE_TOKENS


def prompt(due: Due) -> str:
    """Write filler of the recorded length that asks for an answer of the recorded length; each job's own, so that none is the
    beginning of another."""
    words = min(9999, due.job.completion_tokens)
    end = f" Write {words} words."
    text = f"{due.number}:"
    missing = due.job.prompt_tokens - tokens_of(text + end)
    start = due.number % len(_FILLER)
    filler = [_FILLER[(start + place) % len(_FILLER)] for place in range(max(0, missing))]
    return f"{text} {' '.join(filler)}{end}" if filler else text + end


def request(due: Due, arm: Arm, models: Collection[str], devices: Collection[str]) -> dict[str, Any]:
    """Give the fields of the chat request beside its messages: the model and the device are those that were asked for, where this
    fleet has them."""
    model, device = split_target(due.job.asked_model)
    model = model if canonical(model) in models else AUTO
    fields: dict[str, Any] = {
        "model": f"{model}@{device}" if device in devices else model,
        "priority": due.job.priority,
        "cache": CacheWish.OFF,
        "options": {"max_tokens": due.job.completion_tokens, "seed": due.number},
    }
    return fields | ({"strategy": arm.strategy} if arm.strategy else {})


def messages(due: Due) -> tuple[Message, ...]:
    """Give the conversation that stands for the recorded one."""
    return (Message(role=Role.USER, content=prompt(due)),)


def asked_elsewhere(jobs: Sequence[Recorded], models: Collection[str], devices: Collection[str]) -> tuple[int, int]:
    """Count the jobs that named a model, and those that named a device, which this fleet does not have."""
    targets = [split_target(job.asked_model) for job in jobs]
    no_model = sum(1 for model, _ in targets if model != AUTO and canonical(model) not in models)
    return no_model, sum(1 for _, device in targets if device is not None and device not in devices)
