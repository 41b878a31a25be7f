"""What `drover top` knows of a fleet at one moment, folded from what the bus brings; it asks nobody and draws nothing.

Times are passed in, in seconds of the monotonic clock. What comes over the bus may be anything: what can't be read is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from common import codec
from common.bus import Delivery
from common.energy import PowerSample
from common.errors import BadRequest
from common.messages import MOST_W
from common.subjects import Subjects
from dispatcher.cli.board import Board, DeviceLine
from dispatcher.cli.drawn import MOST_DEVICES, Drawn

KEPT = 50
"""Jobs and events that are kept for the screen, each."""

MINUTE_S = 60.0
LEAST_RATE_S = 10.0
"""Watched for less, jobs a minute are chance."""

GONE_S = 10.0
"""A dispatcher that has not answered for so long is not counted any more; it is asked every two seconds."""

SAMPLE_KEPT_S = 15.0
"""A sample counts for so long; idle devices send few, and their heartbeat tells the watts too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """One job that ended, as its event tells it."""

    at_s: float
    state: str
    job: str = ""
    tenant: str = ""
    device: str = ""
    model: str = ""
    total_s: float | None = None
    first_token_s: float | None = None
    tokens: int | None = None
    joules: float | None = None
    measured: bool = False
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """Something that happened to a device, or to the routing."""

    at_s: float
    what: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLine:
    """What one dispatcher says of its queue."""

    name: str
    heard_s: float
    running: int = 0
    waiting: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """What the ledger has of today."""

    jobs: int
    joules: float
    measured_share: float | None
    heard_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The fleet now. `lost_s` is for how long there is no connection; None while there is one. Jobs and events are the newest
    first, with their age in place of their time."""

    server: str
    watched_s: float
    lost_s: float | None
    devices: tuple[DeviceLine, ...]
    queues: tuple[QueueLine, ...]
    watts: float | None
    watts_measured: bool
    unmetered: int
    jobs_per_min: float | None
    drawn_j: float
    today: Today | None
    jobs: tuple[JobLine, ...]
    events: tuple[EventLine, ...]

    @property
    def in_flight(self) -> int:
        """Count the jobs that run on devices."""
        return sum(line.in_flight for line in self.devices if line.fresh)

    @property
    def slots(self) -> int:
        return sum(line.slots for line in self.devices if line.fresh)

    @property
    def waiting(self) -> int:
        """Count the jobs that wait for a device."""
        return sum(queue.waiting for queue in self.queues)


class Watch:
    """Folds messages into a `Sight`."""

    def __init__(self, board: Board, subjects: Subjects, *, server: str, since_s: float) -> None:
        self.board = board
        self._subjects = subjects
        self._server = server
        self._since_s = since_s
        self._samples: dict[str, tuple[PowerSample, float]] = {}
        self._queues: dict[str, QueueLine] = {}
        self._jobs: deque[JobLine] = deque(maxlen=KEPT)
        self._ended_s: deque[float] = deque(maxlen=100_000)
        self._events: deque[EventLine] = deque(maxlen=KEPT)
        self._drawn = Drawn()
        board.on_beat(self._drawn.beat)
        self.today: Today | None = None
        self.lost_at_s: float | None = None

    def power(self, delivery: Delivery, now_s: float) -> None:
        """Take in a power sample; more than a device can draw is not believed."""
        try:
            sample = codec.build(PowerSample, codec.decode_request(delivery.data))
        except BadRequest:
            return
        foreign = delivery.subject != self._subjects.power(sample.device)
        if (
            foreign
            or sample.watts > MOST_W
            or (sample.device not in self._samples and len(self._samples) >= MOST_DEVICES)
        ):
            return
        self._drawn.sample(sample, now_s)
        self._samples[sample.device] = sample, now_s

    def job(self, delivery: Delivery, now_s: float) -> None:
        """Take in the end of a job."""
        self._ended_s.append(now_s)
        told = _object(delivery.data)
        tokens = self._subjects.tokens(delivery.subject)
        state = tokens[2] if len(tokens) > 2 else ""
        self._jobs.appendleft(_job(told, state, now_s))

    def happened(self, delivery: Delivery, now_s: float) -> None:
        """Take in an event of a device or of the routing."""
        _evt, what, state, name, *_ = [*self._subjects.tokens(delivery.subject), "", "", ""]
        self._events.appendleft(
            EventLine(at_s=now_s, what="routing changed by" if what == "route" else state, name=name)
        )

    def stats(self, delivery: Delivery, now_s: float) -> None:
        """Take in what a dispatcher answers to `$SRV.STATS`."""
        told = _object(delivery.data)
        name = _text(told.get("id"))
        endpoints = told.get("endpoints")
        if not name or not isinstance(endpoints, list):
            return
        for endpoint in endpoints:
            data = endpoint.get("data") if isinstance(endpoint, dict) else None
            if isinstance(data, dict) and "waiting" in data:
                running, waiting, limit = (_count(data.get(key)) or 0 for key in ("running", "waiting", "queue_limit"))
                self._queues[name] = QueueLine(name=name, heard_s=now_s, running=running, waiting=waiting, limit=limit)

    def sight(self, now_s: float) -> Sight:
        """Give what is known now."""
        devices = tuple(self._metered(line, now_s) for line in self.board.lines())
        fresh = [line for line in devices if line.fresh]
        metered = [line for line in fresh if line.watts is not None]
        self._queues = {name: queue for name, queue in self._queues.items() if now_s - queue.heard_s < GONE_S}
        return Sight(
            server=self._server,
            watched_s=now_s - self._since_s,
            lost_s=None if self.lost_at_s is None else now_s - self.lost_at_s,
            devices=devices,
            queues=tuple(self._queues[name] for name in sorted(self._queues)),
            watts=sum(line.watts or 0.0 for line in metered) if metered else None,
            watts_measured=all(line.watts_measured for line in metered),
            unmetered=len(fresh) - len(metered),
            jobs_per_min=self._rate(now_s),
            drawn_j=self._drawn.joules(now_s),
            today=self.today,
            jobs=tuple(replace(job, at_s=now_s - job.at_s) for job in self._jobs),
            events=tuple(replace(event, at_s=now_s - event.at_s) for event in self._events),
        )

    def _metered(self, line: DeviceLine, now_s: float) -> DeviceLine:
        """Prefer the newest sample to the heartbeat, which repeats it."""
        sample, at_s = self._samples.get(line.name, (None, 0.0))
        if sample is None or now_s - at_s > SAMPLE_KEPT_S:
            return line
        return replace(line, watts=sample.watts, watts_measured=sample.measured, watts_source=sample.source)

    def _rate(self, now_s: float) -> float | None:
        while self._ended_s and now_s - self._ended_s[0] > MINUTE_S:
            self._ended_s.popleft()
        watched_s = min(MINUTE_S, now_s - self._since_s)
        return None if watched_s < LEAST_RATE_S else len(self._ended_s) * MINUTE_S / watched_s


def _job(told: Mapping[str, Any], state: str, now_s: float) -> JobLine:
    energy, cache = told.get("energy"), told.get("cache")
    taken = energy if isinstance(energy, dict) else {}
    return JobLine(
        at_s=now_s,
        state=state,
        job=_text(told.get("job")),
        tenant=_text(told.get("tenant")),
        device=_text(told.get("device")),
        model=_text(told.get("model")),
        total_s=_number(told.get("total_s")),
        first_token_s=_number(told.get("first_token_s")),
        tokens=_count(told.get("completion_tokens")),
        joules=_number(taken.get("joules")),
        measured=taken.get("measured") is True,
        cached=isinstance(cache, dict) and cache.get("outcome") == "hit",
        error=_text(told.get("error")),
    )


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        return codec.decode(data)
    except BadRequest:
        return {}


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15 else None
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def worst_first(lines: Sequence[DeviceLine]) -> list[DeviceLine]:
    """Order devices by how much they need somebody to look; those who said good-bye come last. Each keeps its place while nothing
    changes, whatever it works on."""
    return sorted(lines, key=lambda line: (_concern(line), line.name))


_ORDER = ("dead", "faulty", "suspect", "throttled", "noted", "draining", "starting", "ready", "stopped")


def _concern(line: DeviceLine) -> int:
    state = "noted" if line.state == "ready" and (line.warnings or not line.offloaded) else line.state
    return _ORDER.index(state) if state in _ORDER else _ORDER.index("faulty")
