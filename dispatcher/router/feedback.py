"""What is said of answers, and learned from it: matches ratings with jobs, reads off what nobody says, remembers across starts.

It decides nothing, and knows no bus: what changed waits in `told` for whoever publishes it. The arithmetic is `routing.feedback`.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import AllowInfNan, ConfigDict

from common import codec
from common.errors import AttemptError, BadRequest, NoDevice
from common.logs import get_logger
from common.messages import Message
from dispatcher.outcomes import Candidate, Decision, Delivered, Job, Terms
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.feedback import (
    EXPLORATION,
    FACTOR,
    SHARE_MOST,
    TERMS,
    Change,
    Learned,
    Outcome,
    Source,
    changed,
    heard,
    latency_reward,
)

log = get_logger("router.feedback")

MOST_TRACES = 10_000
"""Jobs that can still be rated: some 5 MB."""

MOST_FILE_BYTES = 100_000
MOST_LOOKED_AT = 8
"""Candidates that are made to find one of another device: a device may have many models."""

RETRY_S = 120.0
"""Who asks the same again within this time, after an answer, was not served by it."""

LEAST_MOVE = 1e-4
"""What moves less is not told, and written with the next change that does."""

DIGITS = 4


class FeedbackMode(StrEnum):
    """What is learned from: nothing, what people and judges say, or also what clocks, failures and repeated questions tell."""

    OFF = "off"
    EXPLICIT = "explicit"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What somebody says of an answer: thumbs, or a score from 0 to 1. One of the two is needed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")  # the order carries the tenant as well

    rating: Literal["up", "down"] | None = None
    score: Annotated[float, AllowInfNan(allow_inf_nan=False), Ge(0), Le(1)] | None = None
    reason: Annotated[str, MaxLen(2000)] = ""
    source: Literal["user", "vote", "judge"] = "user"

    @property
    def reward(self) -> float:
        """Give it as a number in [0, 1]. Raises `BadRequest` for none, or two."""
        if (self.rating is None) == (self.score is None):
            raise BadRequest('say one of the two: "rating" (up or down), or "score" (0 to 1)', param="rating")
        return float(self.rating == "up") if self.score is None else self.score


def read_rating(body: Mapping[str, object]) -> Rating:
    """Read what was said. Raises `BadRequest` that names what is wrong."""
    rating = codec.build(Rating, body)
    _ = rating.reward
    return rating


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """The file: what was learned, and how each kind of question was liked."""

    version: Literal[1] = 1
    logs: tuple[
        Annotated[float, Ge(-math.log(FACTOR)), Le(math.log(FACTOR))],
        Annotated[float, Ge(-math.log(FACTOR)), Le(math.log(FACTOR))],
        Annotated[float, Ge(-math.log(FACTOR)), Le(math.log(FACTOR))],
    ] = (0.0, 0.0, 0.0)
    share: Annotated[float, Ge(-SHARE_MOST), Le(SHARE_MOST)] = 0.0
    usual: Annotated[float, Ge(0), Le(1)] | None = None
    outcomes: Annotated[int, Ge(0)] = 0
    kinds: Annotated[dict[str, tuple[Annotated[int, Ge(0)], Annotated[float, Ge(0), Le(1)]]], MaxLen(100)] = field(
        default_factory=dict
    )


@dataclass(slots=True)
class _Trace:
    """What is remembered of a job."""

    chosen: Terms
    rival: Terms | None
    strong: bool | None
    kind: str
    rated: bool = False


@dataclass(slots=True)
class Feedback:
    """Learns for one router. `target_s` is what an answer may take; `file` keeps what was learned, and deleting it forgets all."""

    mode: FeedbackMode = FeedbackMode.OFF
    target_s: float = 10.0
    file: Path | None = None
    learned: Learned = field(default_factory=Learned)
    told: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100))
    """Changes that nobody has published yet."""
    _traces: OrderedDict[tuple[str, str], _Trace] = field(default_factory=OrderedDict)
    _asked: OrderedDict[bytes, tuple[float, tuple[str, str]]] = field(default_factory=OrderedDict)
    _kinds: dict[str, tuple[int, float]] = field(default_factory=dict)
    _written: bool = False
    _made: tuple[RoutingPolicy, Learned, RoutingPolicy] | None = None

    def open(self) -> None:
        """Take up what was learned before; a file that can't be read is told, and begun anew with the next change."""
        if self.mode is FeedbackMode.OFF or self.file is None or not self.file.exists():
            return
        try:
            with self.file.open("rb") as file:
                state = codec.build(_State, codec.decode(file.read(MOST_FILE_BYTES)))
        except (OSError, BadRequest) as error:
            log.warning("feedback.unread", path=str(self.file), error=str(error)[:200])
            return
        self.learned = Learned(logs=state.logs, share=state.share, usual=state.usual, outcomes=state.outcomes)
        self._kinds, self._written = dict(state.kinds), True
        log.info("feedback.read", path=str(self.file), outcomes=state.outcomes, **_rounded(self.learned.factors))

    # -- what routing asks ---------------------------------------------------------------------------------------

    def policy(self, owner: RoutingPolicy) -> RoutingPolicy:
        """Give the owner's policy as it was learned."""
        if self.mode is FeedbackMode.OFF:
            return owner
        made = self._made
        if made is None or made[0] is not owner or made[1] is not self.learned:
            self._made = made = (owner, self.learned, self.learned.policy(owner))
        return made[2]

    def strong_share(self, owner: float) -> float:
        """Give the share of strong calls."""
        return owner if self.mode is FeedbackMode.OFF else self.learned.strong_share(owner)

    def explores(self, job: Job) -> bool:
        """Tell whether a job tries the second best: the same for the same job, and only where clocks are listened to."""
        if self.mode is not FeedbackMode.ALL or job.device is not None:
            return False
        drawn = int.from_bytes(hashlib.blake2b(job.id.encode(), digest_size=4, person=b"explore").digest())
        return drawn < EXPLORATION * 2**32

    def account(self, owner: RoutingPolicy) -> dict[str, Any]:
        """Tell the learned weights beside the owner's, and how each kind of question is liked."""
        return {
            "mode": str(self.mode),
            "configured": _rounded(owner.normalised()),
            "learned": _rounded(self.policy(owner).normalised()),
            "strong_share_moved": round(self.learned.share, DIGITS),
            "outcomes": self.learned.outcomes,
            "kinds": {
                kind: {"rated": count, "liked": round(mean, 3)} for kind, (count, mean) in sorted(self._kinds.items())
            },
        }

    # -- what is said --------------------------------------------------------------------------------------------

    def rate(self, job: str, tenant: str | None, rating: Rating) -> dict[str, Any] | None:
        """Take a rating of a job that ended here lately; None for one that is not known. A job counts once."""
        found = self._found(job, tenant)
        if found is None:
            return None
        of, trace = found
        counted = not trace.rated and self.mode is not FeedbackMode.OFF
        log.info("feedback.rated", job=job, tenant=of, reward=rating.reward, source=rating.source, counted=counted)
        trace.rated = True
        if counted:
            self._count_kind(trace.kind, rating.reward)
            self._hear(trace, Source(rating.source), rating.reward)
        return {"job": job, "tenant": of, "counted": counted, "mode": str(self.mode)}

    def note(self, job: Job, delivered: Delivered, total_s: float) -> None:
        """Remember a job, and read off how it went what nobody will say."""
        decision, chosen = delivered.decision, delivered.chosen
        if self.mode is FeedbackMode.OFF or decision is None or chosen is None:
            return
        trace = _trace(decision, chosen, delivered)
        self._traces[job.tenant, job.id] = trace
        if len(self._traces) > MOST_TRACES:
            self._traces.popitem(last=False)
        if self.mode is FeedbackMode.ALL and set(decision.weights) == set(TERMS):
            self._read_off(job, delivered, trace, total_s)

    def _read_off(self, job: Job, delivered: Delivered, trace: _Trace, total_s: float) -> None:
        """1. A failure of devices, and not of the request. 2. The time it took. 3. The same question again, of the job before."""
        ended_s = job.received_s + total_s
        if delivered.attempts and isinstance(delivered.error, AttemptError | NoDevice):  # 1
            self._hear(trace, Source.FAILURE, 0.0)
        if delivered.end is None:
            return
        self._hear(trace, Source.LATENCY, latency_reward(total_s, self.target_s))  # 2
        key = _digest(job.tenant, job.messages)
        before = self._asked.pop(key, None)
        self._asked[key] = ended_s, (job.tenant, job.id)
        if len(self._asked) > MOST_TRACES:
            self._asked.popitem(last=False)
        if before is not None and 0.0 <= job.received_s - before[0] <= RETRY_S:  # 3
            answered = self._traces.get(before[1])
            if answered is not None and not answered.rated:
                self._hear(answered, Source.RETRY, 0.0)

    def _found(self, job: str, tenant: str | None) -> tuple[str, _Trace] | None:
        if tenant is not None:
            trace = self._traces.get((tenant, job))
            return None if trace is None else (tenant, trace)
        found = [(of, trace) for (of, name), trace in self._traces.items() if name == job]
        return found[0] if len(found) == 1 else None

    def _hear(self, trace: _Trace, source: Source, reward: float) -> None:
        outcome = Outcome(source=source, reward=reward, chosen=trace.chosen, rival=trace.rival, strong=trace.strong)
        self.learned = heard(self.learned, outcome)

    def _count_kind(self, kind: str, reward: float) -> None:
        count, mean = self._kinds.get(kind, (0, 0.0))
        self._kinds[kind] = count + 1, mean + (reward - mean) / (count + 1)

    # -- changing ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Apply what was heard since the last time; forget everything when the file was deleted."""
        if self.mode is FeedbackMode.OFF:
            return
        if self._written and self.file is not None and not self.file.exists():
            log.info("feedback.reset", path=str(self.file))
            self.learned, self._kinds, self._written = Learned(), {}, False
            return
        self.learned, change = changed(self.learned)
        if change is not None:
            if change.moved >= LEAST_MOVE:
                self._tell(change)
            self._write()

    def _tell(self, change: Change) -> None:
        before, after = change.before, change.after
        body = {
            "outcomes": after.outcomes,
            "factors": _rounded(after.factors),
            "factors_before": _rounded(before.factors),
            "share": round(after.share, DIGITS),
            "share_before": round(before.share, DIGITS),
            "usual": None if after.usual is None else round(after.usual, DIGITS),
        }
        log.info("feedback.changed", **body)
        self.told.append(body)

    def _write(self) -> None:
        """Keep it; a disk that does not take it costs what was learned at the next start, and is told."""
        if self.file is None:
            return
        state = _State(
            logs=self.learned.logs,
            share=self.learned.share,
            usual=self.learned.usual,
            outcomes=self.learned.outcomes,
            kinds=self._kinds,
        )
        half = self.file.with_name(f".{self.file.name}.half")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(codec.encode(codec.plain(state)))
            half.replace(self.file)
            self._written = True
        except OSError as error:
            log.warning("feedback.unwritten", path=str(self.file), error=str(error))
            self.file = None  # told once


def _trace(decision: Decision, chosen: Candidate, delivered: Delivered) -> _Trace:
    """Remember the terms of the chosen one, and of the best of another device."""
    rival = next(
        (one.terms for one in islice(decision.candidates, MOST_LOOKED_AT) if one.device != chosen.device), None
    )
    strong: bool | None = None
    if delivered.cascaded is not None:
        strong = delivered.cascaded.given == "strong"
    elif (verdict := decision.features.get("verdict")) is not None:
        strong = bool(verdict["strong"])
    return _Trace(chosen.terms, rival, strong, str(decision.features.get("kind", "")))


def _digest(tenant: str, messages: tuple[Message, ...]) -> bytes:
    made = hashlib.blake2b(tenant.encode(), digest_size=16)
    for message in messages:
        made.update(f"\0{message.role}\0{message.content}".encode("utf-8", "surrogatepass"))
    return made.digest()


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in values.items()}
