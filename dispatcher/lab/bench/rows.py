"""One question under one arm: everything that is known of how it went, as a row of the per-query CSV; pure, it asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from common.errors import FleetError
from dispatcher.lab.bench.plan import Arm, Asked, CacheMode

Key = tuple[str, str, int, str, str, int]
HIT = "hit"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """The names are the columns. Seconds, joules and tokens/s are in the fleet's own time: a simulated device that runs twenty
    times faster than life is told of as if it did not. `latency_s` is the producer's view, from when the question was due; the
    other clocks are the route's. `lag_s` is how much later than due it was asked: a bench that is late does not hide how long its
    fleet takes. `turn` counts the questions of a conversation, `turns` says how many it has. `energy` says where the joules are
    from. `cache_outcome` and what follows it is the cache's own word; a hit takes no device's joules, `saved_` what it spares, and
    `shadow` what a look at likeness would have given, `yes` or `no`, where the fleet only looks.
    """

    strategy: str
    threshold: int | None = None
    cache: str = "off"
    repeat: int = 1
    query_set: str = ""
    query_id: str = ""
    category: str = ""
    turn: int = 1
    turns: int = 1
    success: bool = False
    error: str = ""
    error_message: str = ""
    finish: str = ""
    job: str = ""
    device: str = ""
    model: str = ""
    reason: str = ""
    attempts: int = 0
    escalated: bool = False
    replayed: bool = False
    simulated: bool = False
    due_unix_s: float | None = None
    began_unix_s: float | None = None
    lag_s: float | None = None
    latency_s: float | None = None
    queue_s: float | None = None
    accept_s: float | None = None
    load_s: float | None = None
    prefill_s: float | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    decode_tps: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    energy_j: float | None = None
    energy: str = ""
    cost_usd: float | None = None
    cache_outcome: str = ""
    cache_kind: str = ""
    cache_similarity: float | None = None
    cache_why: str = ""
    shadow: str = ""
    saved_s: float | None = None
    saved_j: float | None = None
    score: float | None = None
    term_tokens: float | None = None
    term_topic: float | None = None
    term_health: float | None = None
    predicted_wait_s: float | None = None
    predicted_load_s: float | None = None
    predicted_first_token_s: float | None = None
    predicted_total_s: float | None = None
    predicted_energy_j: float | None = None
    estimated_prompt_tokens: int | None = None
    estimated_output_tokens: int | None = None
    complexity: float | None = None
    embedder: str = ""
    lacks: str = ""
    time_factor: float = 1.0

    @property
    def key(self) -> Key:
        """Name the measurement: a row with the same key is the same one."""
        return self.strategy, self.cache, self.repeat, self.query_set, self.query_id, self.turn

    @property
    def hit(self) -> bool:
        """Tell whether the answer came from the cache."""
        return self.cache_outcome == HIT

    @property
    def talk(self) -> tuple[str, str]:
        """Name the conversation, which its turns and its repeats have in common."""
        return self.query_set, self.query_id

    @property
    def question(self) -> tuple[str, str, int, int]:
        """Name what was asked, and in which repeat: under another arm it is the same."""
        return self.query_set, self.query_id, self.repeat, self.turn

    @property
    def worked_s(self) -> float | None:
        """Give what the engine says that it took to load, read and write; None where it says nothing."""
        if not self.success or not self.decode_tps:
            return None
        return (self.load_s or 0.0) + (self.prefill_s or 0.0) + self.completion_tokens / self.decode_tps

    @property
    def overhead_s(self) -> float | None:
        """Give what is left of the latency when queue, load, prefill and decoding are taken off; None where they aren't known, and
        where a weak answer was written before."""
        if self.escalated or self.latency_s is None or self.queue_s is None or (worked_s := self.worked_s) is None:
            return None
        return max(0.0, self.latency_s - (self.lag_s or 0.0) - self.queue_s - worked_s)

    @property
    def arm(self) -> Arm:
        return Arm(self.strategy, CacheMode(self.cache))


_CLOCKS = ("queue_s", "accept_s", "first_token_s", "total_s")
"""What the dispatcher reads off the wall. What a device says of itself, and what is predicted from that, is in its own time."""

_ENGINE = ("load_s", "prefill_s", "decode_tps")
_PREDICTED = ("wait_s", "load_s", "first_token_s", "total_s", "energy_j")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a target says of one answer; `route` is the dispatcher's account, `why` its record of the decision, if it has it, and
    `energy` the receipt."""

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    route: Mapping[str, Any]
    why: Mapping[str, Any]
    energy: Mapping[str, Any] = field(default_factory=dict)


def asked_row(arm: Arm, repeat: int, asked: Asked, turn: int, *, time_factor: float) -> BenchRow:
    """Give a row that says which question it is, and nothing yet of how it went."""
    return BenchRow(
        strategy=arm.strategy,
        threshold=arm.threshold,
        cache=str(arm.cache),
        repeat=repeat,
        query_set=asked.query_set,
        query_id=one_line(asked.conversation.id),
        category=one_line(asked.conversation.category),
        turn=turn,
        turns=len(asked.conversation.questions),
        time_factor=time_factor,
    )


def begun(row: BenchRow, *, lag_s: float | None, unix_s: float) -> BenchRow:
    """Give the row of a question that is put now, so much later than it was due; `lag_s` is read on the wall."""
    due_unix_s = None if lag_s is None else unix_s - lag_s
    return replace(row, began_unix_s=unix_s, due_unix_s=due_unix_s, lag_s=_times(lag_s, row.time_factor))


def failed(row: BenchRow, error: FleetError, latency_s: float | None) -> BenchRow:
    """Give the row of a question that got no answer."""
    return replace(
        row,
        error=error.code,
        error_message=error.message,
        device=str(error.details.get("device") or ""),
        model=str(error.details.get("model") or ""),
        latency_s=_times(latency_s, row.time_factor),
    )


def answered(row: BenchRow, heard: Heard, latency_s: float) -> BenchRow:
    """Give the row of an answer; `latency_s` is read on the wall."""
    route, factor = heard.route, row.time_factor
    timings, terms = route.get("timings") or {}, route.get("terms") or {}
    told = route.get("features") or heard.why.get("features") or {}
    option = _option(heard.why, route)
    joules, source = _energy(heard, factor)
    figures: dict[str, Any] = {name: _times(timings.get(name), factor) for name in _CLOCKS}
    figures |= {name: timings.get(name) for name in _ENGINE}
    figures |= {f"predicted_{name}": option.get(name) for name in _PREDICTED}
    figures |= {f"term_{name}": terms.get(name) for name in ("tokens", "topic", "health")}
    figures |= _cached(route.get("cache") or {}, factor)
    return replace(
        row,
        success=True,
        finish=heard.finish,
        job=str(route.get("job") or ""),
        device=str(route.get("device") or ""),
        model=str(route.get("model") or ""),
        reason=str(route.get("reason") or ""),
        attempts=len(route.get("attempts") or ()),
        escalated=bool((route.get("cascade") or {}).get("escalated")),
        replayed=bool(route.get("replayed")),
        simulated=bool(route.get("simulated")),
        latency_s=_times(latency_s, factor),
        prompt_tokens=heard.prompt_tokens,
        completion_tokens=heard.completion_tokens,
        energy_j=joules,
        energy=source,
        cost_usd=route.get("cost_usd"),
        score=route.get("score"),
        estimated_prompt_tokens=told.get("prompt_tokens"),
        estimated_output_tokens=told.get("output_tokens"),
        complexity=told.get("complexity"),
        embedder=str(told.get("embedder") or ""),
        lacks=str(told.get("lacks") or ""),
        **figures,
    )


def _cached(told: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Give what the cache says of itself; seconds and joules that a hit saves are those of the wall."""
    saved, shadow = told.get("saved") or {}, told.get("shadow") or {}
    return {
        "cache_outcome": str(told.get("outcome") or ""),
        "cache_kind": str(told.get("kind") or ""),
        "cache_similarity": told.get("similarity"),
        "cache_why": str(told.get("why") or shadow.get("why") or ""),
        "shadow": "" if not shadow else "yes" if shadow.get("would") else "no",
        "saved_s": _times(saved.get("s"), factor),
        "saved_j": _times(saved.get("energy_j"), factor),
    }


def _option(why: Mapping[str, Any], route: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what the decision predicted for the device and the model that answered."""
    chosen = route.get("device"), route.get("model")
    for option in why.get("options") or ():
        if (option.get("device"), option.get("model")) == chosen:
            return dict(option.get("predicted") or {})
    return {}


def _energy(heard: Heard, factor: float) -> tuple[float | None, str]:
    """Give the joules of the receipt, which are those of the wall's seconds, and whether sensors saw them; nothing for what comes
    from the cache."""
    if (heard.route.get("cache") or {}).get("outcome") == HIT:
        return 0.0, ""
    joules = heard.energy.get("joules")
    if joules is None:
        return None, ""
    return joules * factor, "measured" if heard.energy.get("measured") else "estimated"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def one_line(text: str) -> str:
    """Join lines: a record is a line, so that one that was cut off can be told from a whole one."""
    return " ".join(text.split())
