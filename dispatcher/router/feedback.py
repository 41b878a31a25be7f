"""What is said of answers, and learned from it: matches ratings with jobs, reads off what nobody says, remembers across starts.

Each tenant's jobs teach what that tenant gets, and nobody else's: whoever rates steers neither other tenants nor what they cost.
How far, `routing.feedback` bounds, whose arithmetic it is; who shares a tenant shares its say. It decides nothing, and knows no
bus: what changed waits in `told` for whoever publishes it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, Literal

from common import codec
from common.errors import AttemptError, BadRequest, NoDevice
from common.logs import get_logger
from common.messages import Message
from common.ratings import Rating
from dispatcher.outcomes import Candidate, Delivered, Job, Settled, Terms
from dispatcher.router.affinity import goes_on
from dispatcher.router.feedback_file import FeedbackFile
from dispatcher.router.feedback_state import MOST_KINDS, MOST_TENANTS, State, kept_of, learned_of
from dispatcher.router.lessons import Lessons
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.feedback import (
    EXPLORATION,
    TERMS,
    Change,
    Learned,
    Outcome,
    Source,
    latency_reward,
)
from dispatcher.routing.strategies.tiers import STRONG

log = get_logger("router.feedback")

MOST_TRACES = 10_000
"""Jobs that can still be rated: some 5 MB."""

MOST_FILE_BYTES = 1_000_000
RETRY_S = 120.0
"""Who asks the same again within this time, after an answer, was not served by it. Only later turns of a conversation tell: probes,
benchmarks and greetings repeat first ones, and so do different users."""

LEAST_MOVE = 1e-4
"""What moves less is not told, and written with the next change that does."""

DIGITS = 4

OFF = "feedback is off"
RATED = "it was rated before"
NOTHING_SAID = "nothing was learned from this word"
TOO_LATE = "what was learned from it can't be told apart any more: it fades"


class FeedbackMode(StrEnum):
    """What is learned from: nothing, what people and judges say, or also what clocks, failures and repeated questions tell."""

    OFF = "off"
    EXPLICIT = "explicit"
    ALL = "all"


@dataclass(slots=True)
class _Tenant:
    """What is known of one tenant; `made` is the owner's policy as it was learned, and what it was made of."""

    lessons: Lessons = field(default_factory=Lessons)
    kinds: dict[str, tuple[int, float]] = field(default_factory=dict)
    made: tuple[RoutingPolicy, Learned, RoutingPolicy] | None = None

    @property
    def learned(self) -> Learned:
        return self.lessons.learned


@dataclass(frozen=True, slots=True)
class _Said:
    """The rating that counts for a job, and its number among the outcomes."""

    rating: Rating
    number: int

    def means(self, rating: Rating) -> bool:
        """Tell whether it is the word that is changed, or taken back."""
        return bool(rating.word) and rating.word == self.rating.word

    def same(self, rating: Rating) -> bool:
        """Tell whether the same is said again."""
        own = self.rating
        return (own.reward, own.source, own.over) == (rating.reward, rating.source, rating.over)


@dataclass(slots=True)
class _Trace:
    """What is remembered of a job; `rival` is the best that only the three terms kept from being chosen."""

    chosen: Terms
    rival: Terms | None
    strong: bool | None
    kind: str
    said: _Said | None = None


@dataclass(slots=True)
class Feedback:
    """Learns for one router. `target_s` is what an answer may take; `file` keeps what was learned, and deleting it forgets all."""

    mode: FeedbackMode = FeedbackMode.OFF
    target_s: float = 10.0
    file: Path | None = None
    told: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100))
    """Changes that nobody has published yet."""
    _traces: OrderedDict[tuple[str, str], _Trace] = field(default_factory=OrderedDict)
    _asked: OrderedDict[bytes, tuple[float, tuple[str, str]]] = field(default_factory=OrderedDict)
    _tenants: OrderedDict[str, _Tenant] = field(default_factory=OrderedDict)
    _numbers: Iterator[int] = field(default_factory=count)
    """Of outcomes: one that is forgotten with its tenant is met again by none."""
    _file: FeedbackFile = field(init=False)

    def __post_init__(self) -> None:
        self._file = FeedbackFile(self.file)

    def open(self) -> None:
        """Take up what was learned before; a file that can't be read is told, and begun anew with the next change."""
        if self.mode is FeedbackMode.OFF or self.file is None:
            return
        try:
            with self.file.open("rb") as file:
                state = codec.build(State, codec.decode(file.read(MOST_FILE_BYTES)))
        except FileNotFoundError:
            return
        except (OSError, BadRequest) as error:
            log.warning("feedback.unread", path=str(self.file), error=str(error)[:200])
            return
        for name, kept in state.tenants.items():
            self._tenants[name] = _Tenant(Lessons(learned_of(kept)), dict(kept.kinds))
        self._file.written = True
        log.info("feedback.read", path=str(self.file), tenants=len(self._tenants))

    # -- what routing asks ---------------------------------------------------------------------------------------

    def learned(self, tenant: str) -> Learned:
        """Give what was learned of a tenant's jobs."""
        known = self._tenants.get(tenant)
        return Learned() if known is None else known.learned

    def policy(self, owner: RoutingPolicy, tenant: str) -> RoutingPolicy:
        """Give the owner's policy as it was learned for a tenant."""
        known = self._tenants.get(tenant)
        if self.mode is FeedbackMode.OFF or known is None:
            return owner
        made = known.made
        if made is None or made[0] is not owner or made[1] is not known.learned:
            known.made = made = (owner, known.learned, known.learned.policy(owner))
        return made[2]

    def strong_share(self, owner: float, tenant: str) -> float:
        """Give the share of strong calls of a tenant."""
        return owner if self.mode is FeedbackMode.OFF else self.learned(tenant).strong_share(owner)

    def explores(self, job: Job) -> bool:
        """Tell whether a job tries the second best: the same for the same job, and only where clocks are listened to."""
        if self.mode is not FeedbackMode.ALL or job.device is not None:
            return False
        drawn = int.from_bytes(hashlib.blake2b(job.id.encode(), digest_size=4, person=b"explore").digest())
        return drawn < EXPLORATION * 2**32

    def account(self, owner: RoutingPolicy, tenant: str) -> dict[str, Any]:
        """Tell the weights learned for a tenant beside the owner's, and how it likes each kind of question."""
        learned, kinds = self.learned(tenant), self._tenants.get(tenant, _Tenant()).kinds
        return {
            "mode": str(self.mode),
            "configured": _rounded(owner.normalised()),
            "learned": _rounded(self.policy(owner, tenant).normalised()),
            "strong_share_moved": round(learned.share, DIGITS),
            "outcomes": learned.outcomes,
            "kinds": {kind: {"rated": count, "liked": round(mean, 3)} for kind, (count, mean) in sorted(kinds.items())},
        }

    # -- what is said --------------------------------------------------------------------------------------------

    def rate(self, job: str, tenant: str | None, rating: Rating) -> dict[str, Any] | None:
        """Take a rating of a job that ended here lately; None for one that is not known. A job counts once: another word of the
        same name takes the place of the one that does, or takes it back."""
        found = self._found(job, tenant)
        if found is None:
            return None
        of, trace = found
        why = OFF if self.mode is FeedbackMode.OFF else self._withdraw(of, trace, rating)
        if not (why or rating.withdrawn or trace.said):
            self._learn(of, trace, rating)
        counted = not why and not rating.withdrawn
        said: dict[str, Any] = {"unlearned": not why} if rating.withdrawn else {}
        log.info("feedback.rated", job=job, tenant=of, source=rating.source, counted=counted, **said)
        told = {"job": job, "tenant": of, "counted": counted, "mode": str(self.mode), **said}
        return told | {"why": why} if why else told

    def _withdraw(self, tenant: str, trace: _Trace, rating: Rating) -> str:
        """Take back what a word takes the place of; gives why that can't be, and nothing where it is done or there is nothing.

        1. Nothing was said. 2. Something else was. 3. The same is said again. 4. What was learned since lies on top of it.
        """
        said = trace.said
        if said is None:  # 1
            return NOTHING_SAID if rating.withdrawn else ""
        if not said.means(rating):  # 2
            return NOTHING_SAID if rating.withdrawn else RATED
        if not rating.withdrawn and said.same(rating):  # 3
            return ""
        if not self._known(tenant).lessons.forget(said.number):  # 4
            return TOO_LATE
        self._count_kind(tenant, trace.kind, said.rating.reward, -1)
        trace.said = None
        return ""

    def _learn(self, tenant: str, trace: _Trace, rating: Rating) -> None:
        self._count_kind(tenant, trace.kind, rating.reward, 1)
        number = self._hear(tenant, self._beside(tenant, trace, rating.over), Source(rating.source), rating.reward)
        trace.said = _Said(rating, number)

    def note(self, job: Job, delivered: Delivered, total_s: float) -> None:
        """Remember a job, so that whoever rates it hears what came of it, and read off how it went what nobody will say."""
        decision, chosen = delivered.decision, delivered.chosen
        if decision is None or chosen is None:
            return
        trace = _trace(decision, chosen, delivered)
        self._traces[job.tenant, job.id] = trace
        if len(self._traces) > MOST_TRACES:
            self._traces.popitem(last=False)
        if self.mode is FeedbackMode.ALL and _by_terms(decision):
            self._read_off(job, delivered, trace, total_s)

    def _read_off(self, job: Job, delivered: Delivered, trace: _Trace, total_s: float) -> None:
        """1. A failure of devices, and not of the request. 2. The time it took. 3. The same question again, of the job before."""
        ended_s = job.received_s + total_s
        if delivered.attempts and isinstance(delivered.error, AttemptError | NoDevice):  # 1
            self._hear(job.tenant, trace, Source.FAILURE, 0.0)
        if delivered.end is None:
            return
        self._hear(job.tenant, trace, Source.LATENCY, latency_reward(total_s, self.target_s))  # 2
        if goes_on(job.messages):
            self._asked_again(job, ended_s)  # 3

    def _asked_again(self, job: Job, ended_s: float) -> None:
        key = _digest(job.tenant, job.messages)
        before = self._asked.pop(key, None)
        self._asked[key] = ended_s, (job.tenant, job.id)
        if len(self._asked) > MOST_TRACES:
            self._asked.popitem(last=False)
        if before is not None and 0.0 <= job.received_s - before[0] <= RETRY_S:
            answered = self._traces.get(before[1])
            if answered is not None and answered.said is None:
                self._hear(job.tenant, answered, Source.RETRY, 0.0)

    def _found(self, job: str, tenant: str | None) -> tuple[str, _Trace] | None:
        if tenant is not None:
            trace = self._traces.get((tenant, job))
            return None if trace is None else (tenant, trace)
        found = [(of, trace) for (of, name), trace in self._traces.items() if name == job]
        return found[0] if len(found) == 1 else None

    def _beside(self, tenant: str, trace: _Trace, over: Sequence[str]) -> _Trace:
        """Put in the place of a job's rival what it was preferred to: of jobs that were pinned to devices nothing else was weighed.
        Of several the mean: one vote is one outcome, or noise would look like agreement. Those that are not known here, as they ran
        with another dispatcher, are left out."""
        known = [self._traces[tenant, job].chosen for job in over if (tenant, job) in self._traces]
        if not known:
            return trace
        middle = {name: sum(getattr(one, name) for one in known) / len(known) for name in TERMS}
        return replace(trace, rival=Terms(**middle))

    def _hear(self, tenant: str, trace: _Trace, source: Source, reward: float) -> int:
        """Take in an outcome, and give its number."""
        number = next(self._numbers)
        outcome = Outcome(source=source, reward=reward, chosen=trace.chosen, rival=trace.rival, strong=trace.strong)
        self._known(tenant).lessons.hear(number, outcome)
        return number

    def _count_kind(self, tenant: str, kind: str, reward: float, more: Literal[1, -1]) -> None:
        """Count a rating of a kind of question, or take one out again."""
        kinds = self._known(tenant).kinds
        number, mean = kinds.get(kind, (0, 0.0))
        if number + more > 0 and (number or len(kinds) < MOST_KINDS):
            kinds[kind] = number + more, min(1.0, max(0.0, mean + more * (reward - mean) / (number + more)))
        elif number:
            del kinds[kind]

    def _known(self, tenant: str) -> _Tenant:
        """Give what is known of a tenant that is heard now."""
        known = self._tenants.setdefault(tenant, _Tenant())
        self._tenants.move_to_end(tenant)
        if len(self._tenants) > MOST_TENANTS:
            self._tenants.popitem(last=False)
        return known

    # -- changing ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Apply what was heard since the last time; forget everything when the file was deleted."""
        if self.mode is FeedbackMode.OFF:
            return
        if self._file.taken_away():
            log.info("feedback.reset", path=str(self.file))
            self._tenants.clear()
            return
        applied = [self._apply(name, known) for name, known in self._tenants.items()]
        if any(applied):
            self._hold()

    def _apply(self, tenant: str, known: _Tenant) -> bool:
        """Apply what was heard of a tenant's jobs; False when there was nothing."""
        change = known.lessons.change(next(self._numbers))
        if change is not None and change.moved >= LEAST_MOVE:
            self._tell(tenant, change)
        return change is not None

    def _tell(self, tenant: str, change: Change) -> None:
        before, after = change.before, change.after
        body = {
            "tenant": tenant,
            "outcomes": after.outcomes,
            "factors": _rounded(after.factors),
            "factors_before": _rounded(before.factors),
            "share": round(after.share, DIGITS),
            "share_before": round(before.share, DIGITS),
            "usual": None if after.usual is None else round(after.usual, DIGITS),
        }
        log.info("feedback.changed", **body)
        self.told.append(body)

    def keep(self) -> None:
        """Write what was learned, and look whether the file was deleted. A thread may do it: a disk may take long."""
        if self.mode is not FeedbackMode.OFF:
            self._file.keep()

    def _hold(self) -> None:
        kept = {name: kept_of(known.learned, known.kinds) for name, known in self._tenants.items()}
        self._file.hold(State(tenants=kept))


def _by_terms(decision: Settled) -> bool:
    """True where the three terms have a say in the order: they get neither praise nor blame for what chance or joules chose."""
    return set(decision.weights) == set(TERMS)


def _trace(decision: Settled, chosen: Candidate, delivered: Delivered) -> _Trace:
    """Remember the terms of the chosen one, and of the best of another device that they kept behind it: of its tier, as dear."""
    others = decision.leaders if _by_terms(decision) else ()
    rival = next((one.terms for one in others if one.device != chosen.device and _beside(one, chosen)), None)
    strong: bool | None = None
    if delivered.cascaded is not None:
        strong = delivered.cascaded.given == "strong"
    elif (verdict := decision.features.get("verdict")) is not None:
        strong = chosen.details.get(STRONG, float(verdict["strong"])) > 0.0
    return _Trace(chosen.terms, rival, strong, str(decision.features.get("kind", "")))


def _beside(one: Candidate, chosen: Candidate) -> bool:
    return one.remote == chosen.remote and one.details.get(STRONG) == chosen.details.get(STRONG)


def _digest(tenant: str, messages: tuple[Message, ...]) -> bytes:
    made = hashlib.blake2b(tenant.encode(), digest_size=16)
    for message in messages:
        made.update(f"\0{message.role}\0{message.content}".encode("utf-8", "surrogatepass"))
    return made.digest()


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in values.items()}
