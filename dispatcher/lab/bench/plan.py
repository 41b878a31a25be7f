"""What is to be measured, in which order; pure, and it asks nobody anything.

An arm is one way of routing: a strategy with its variant, and a cache mode. Every arm gets the same conversations in the same
order, so that what differs is the routing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from common.errors import BadRequest
from common.messages import CacheWish, ChatRequest, Message, Role
from dispatcher.cli.questions import Conversation
from dispatcher.fleet import Fleet
from dispatcher.routing import Ask, RoutingPolicy, decide, features
from dispatcher.routing.strategies import STRATEGIES
from dispatcher.routing.strategies.energy import MODES

ALL = "all"
BY_THRESHOLD = "token"
MOST_THRESHOLD = 9_999_999


class Arrival(StrEnum):
    """When conversations begin: `closed` keeps so many under way, `poisson` begins them at random moments, whatever becomes of
    those before."""

    CLOSED = "closed"
    POISSON = "poisson"


class CacheMode(StrEnum):
    """Whether answers may come from a cache. On is all that a cache has: the very same question, and one that means the same."""

    OFF = "off"
    ON = "on"

    @property
    def wish(self) -> CacheWish:
        """Give what each question asks for."""
        return CacheWish.OFF if self is CacheMode.OFF else CacheWish.SEMANTIC


@dataclass(frozen=True, slots=True, order=True)
class Arm:
    """One way of routing; `strategy` is what goes on the wire, such as `token:500`."""

    strategy: str
    cache: CacheMode = CacheMode.OFF

    @property
    def threshold(self) -> int | None:
        name, _, variant = self.strategy.partition(":")
        return int(variant) if name == BY_THRESHOLD and variant else None

    @property
    def name(self) -> str:
        """Say which one it is, to people."""
        return self.strategy if self.cache is CacheMode.OFF else f"{self.strategy}, cache {self.cache}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation and the set that it is from."""

    query_set: str
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Lap:
    """One arm once over all conversations."""

    arm: Arm
    repeat: int
    order: tuple[Asked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How conversations come. `rate` is conversations a second of the fleet's own time, for `poisson`."""

    arrival: Arrival = Arrival.CLOSED
    concurrency: int = 2
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """All that decides what is measured."""

    arms: tuple[Arm, ...]
    asked: tuple[Asked, ...]
    load: Load = field(default_factory=Load)
    repeat: int = 1
    seed: int = 0
    max_tokens: int | None = None
    timeout_s: float | None = None

    @property
    def questions(self) -> int:
        """Give the number of questions of one lap."""
        return sum(len(one.conversation.questions) for one in self.asked)

    @property
    def total(self) -> int:
        return self.questions * len(self.arms) * self.repeat

    def laps(self) -> Iterator[Lap]:
        """Give all laps: each repeat takes the arms in another order, so that none is always the first on cold devices."""
        for repeat in range(1, self.repeat + 1):
            chance = random.Random(f"{self.seed}:{repeat}")  # noqa: S311  # an order, not a secret
            order, arms = list(self.asked), list(self.arms)
            chance.shuffle(order)
            chance.shuffle(arms)
            for arm in arms:
                yield Lap(arm, repeat, tuple(order))


def arms(strategies: Sequence[str], thresholds: Sequence[str], caches: Sequence[CacheMode]) -> tuple[Arm, ...]:
    """Give the arms in the order asked for: `token` once for each threshold, `energy` in `all` once for each mode.

    Raises `BadRequest` for a strategy, a variant or a threshold that there is not.
    """
    tokens = [_threshold(text) for text in thresholds]
    found: dict[Arm, None] = {}
    for given in strategies:
        for name in _expanded(given, tokens):
            _require_known(name)
            found |= dict.fromkeys(Arm(name, cache) for cache in caches)
    return tuple(found)


def _expanded(given: str, tokens: Sequence[int]) -> Iterator[str]:
    if given == ALL:
        for name in STRATEGIES:
            yield from _expanded(name, tokens) if name == BY_THRESHOLD else _variants(name)
    elif given == BY_THRESHOLD:
        yield from (f"{BY_THRESHOLD}:{count}" for count in tokens)
    else:
        yield given


def _variants(name: str) -> Iterator[str]:
    yield from (f"energy:{mode}" for mode in MODES) if name == "energy" else (name,)


def _threshold(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MOST_THRESHOLD:
        raise BadRequest(
            f"--thresholds {text[:40]!r} is no number of tokens: give whole numbers from 1 to {MOST_THRESHOLD}, "
            "for example --thresholds 100 500 1000 2000"
        )
    return int(text)


def _require_known(strategy: str) -> None:
    """Have the engine itself judge the name and its variant, over an empty fleet. Raises `BadRequest`."""
    messages = (Message(role=Role.USER, content="hi"),)
    wanted = features(ChatRequest(messages=messages), messages)
    try:
        decide(Ask(model="auto", device=None, wanted=wanted, strategy=strategy), Fleet(), RoutingPolicy(), {})
    except BadRequest as error:
        raise BadRequest(f"--strategies: {error.message}; or {ALL} for all of them") from error


def cache_modes(given: Sequence[str]) -> tuple[CacheMode, ...]:
    """Give the modes, each once. Raises `BadRequest` for one that there is not."""
    unknown = [text for text in given if text not in set(CacheMode)]
    if unknown:
        raise BadRequest(f"--cache-modes {unknown[0][:40]!r} is no cache mode: use off, on, or both")
    return tuple(dict.fromkeys(CacheMode(text) for text in given))


def require_load(load: Load) -> Load:
    """Give the load back. Raises `BadRequest` when rate and arrival do not belong together."""
    if load.arrival is Arrival.POISSON and load.rate is None:
        raise BadRequest("--arrival poisson needs --rate: conversations a second, for example --rate 0.5")
    if load.arrival is Arrival.CLOSED and load.rate is not None:
        raise BadRequest("--rate belongs to --arrival poisson; --arrival closed takes --concurrency")
    return load


def gaps_s(lap: Lap, load: Load, seed: int) -> Iterator[float]:
    """Give the seconds of the fleet's own time between the beginnings of conversations: exponential, the same for each arm.

    Each conversation of the lap has its own, which it keeps when others were measured before: what is left comes as densely."""
    chance = random.Random(f"{seed}:{lap.repeat}:arrivals")  # noqa: S311  # a load, not a secret
    for _ in lap.order:
        yield chance.expovariate(load.rate or 1.0)


def fingerprint(plan: BenchPlan, more: Mapping[str, object]) -> dict[str, object]:
    """Give the settings that rows of one file must share, in words that an error can quote; how many arms are run may grow."""
    return {
        "questions": _digest(plan.asked),
        "arrival": str(plan.load.arrival),
        "concurrency": plan.load.concurrency if plan.load.arrival is Arrival.CLOSED else None,
        "rate": plan.load.rate,
        "seed": plan.seed,
        "max_tokens": plan.max_tokens,
        "timeout_s": plan.timeout_s,
        **more,
    }


def _digest(asked: Sequence[Asked]) -> str:
    known = hashlib.sha256()
    for one in asked:
        known.update(f"{one.query_set}\0{one.conversation!r}\0".encode())
    return f"{len(asked)} conversations, {known.hexdigest()[:12]}"
