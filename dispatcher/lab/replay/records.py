"""Recorded jobs as the ledger tells and exports them, as values; it knows neither file nor bus.

A record may be nested, as it travels, or flat, as a table has it: `usage` with `prompt_tokens`, or `prompt_tokens` alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from common import codec
from common.errors import BadRequest
from common.messages import AUTO, Priority

Told = Mapping[str, Any]

DONE = "done"
HIT = "hit"
MOST_TOKENS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A job that is over. Seconds and joules are as they were recorded, `at_s` is since 1970."""

    name: str
    at_s: float
    state: str
    tenant: str = "default"
    priority: Priority = Priority.NORMAL
    asked_model: str = AUTO
    device: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_s: float | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    joules: float | None = None
    measured: bool = False
    cost: float | None = None
    currency: str = ""
    cached: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is re-run, in order of arrival, and what is not, by reason."""

    jobs: tuple[Recorded, ...]
    left_out: tuple[tuple[str, int], ...]


def recorded(row: Told, where: str) -> Recorded:
    """Read one record. Raises `BadRequest` that says where what is missing."""
    usage, energy = _part(row, "usage"), _part(row, "energy")
    at_s = _number(row.get("received_unix_s"))
    state = row.get("state")
    if at_s is None or not isinstance(state, str):
        raise BadRequest(f"{where} is no record of a job: received_unix_s or state is missing")
    outcome = _part(row, "cache").get("outcome", row.get("cache_outcome"))
    return Recorded(
        name=_text(row.get("record")) or _text(row.get("job")) or where,
        at_s=at_s,
        state=state,
        tenant=_text(row.get("tenant")) or "default",
        priority=_priority(row.get("priority")),
        asked_model=_text(row.get("asked_model")) or AUTO,
        device=_text(row.get("device")),
        model=_text(row.get("model")),
        prompt_tokens=_tokens(usage, row, "prompt_tokens"),
        completion_tokens=_tokens(usage, row, "completion_tokens"),
        queue_s=_number(row.get("queue_s")),
        first_token_s=_number(row.get("first_token_s")),
        total_s=_number(row.get("total_s")),
        joules=_number(energy.get("joules", row.get("energy_joules"))),
        measured=_flag(energy.get("measured", row.get("energy_measured"))),
        cost=_number(energy.get("cost", row.get("energy_cost"))),
        currency=_text(energy.get("currency", row.get("energy_currency"))),
        cached=outcome == HIT,
        simulated=_flag(row.get("simulated")),
    )


def chosen(records: Iterable[Recorded], *, limit: int) -> Choice:
    """Choose what can be run again: the newest `limit` of those that a device answered. How long an answer that never came would
    have been, and whether words that nobody kept are alike, nobody knows."""
    left: Counter[str] = Counter()
    kept: list[Recorded] = []
    for one in records:
        if reason := _unfit(one):
            left[reason] += 1
        else:
            kept.append(one)
    kept.sort(key=lambda one: (one.at_s, one.name))
    if len(kept) > limit:
        left[f"older than the newest {limit}, as --limit has it"] = len(kept) - limit
    return Choice(jobs=tuple(kept[-limit:]), left_out=tuple(left.most_common()))


def _unfit(one: Recorded) -> str:
    if one.cached:
        return "answered from the cache: whether it would be again depends on words that were not recorded"
    if one.state != DONE:
        return f"{one.state}: no answer was recorded"
    if one.completion_tokens < 1 or one.completion_tokens > MOST_TOKENS or one.prompt_tokens > MOST_TOKENS:
        return "without a count of tokens that can be replayed"
    return ""


def sped(records: Sequence[Recorded], factor: float) -> list[Recorded]:
    """Give what was recorded on a fleet that ran `factor` times faster than life as it would have been in life."""
    first_s = min((one.at_s for one in records), default=0.0)

    def longer(value: float | None) -> float | None:
        return None if value is None else value * factor

    return [
        replace(
            one,
            at_s=first_s + (one.at_s - first_s) * factor,
            queue_s=longer(one.queue_s),
            first_token_s=longer(one.first_token_s),
            total_s=longer(one.total_s),
            joules=longer(one.joules),
            cost=longer(one.cost),
        )
        for one in records
    ]


def _part(row: Told, name: str) -> Told:
    """Give an object within a record; a table has it as text."""
    value = row.get(name)
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = codec.decode(value.encode())
        except BadRequest:
            return {}
    return value if isinstance(value, Mapping) else {}


def _tokens(usage: Told, row: Told, name: str) -> int:
    return int(_number(usage.get(name, row.get(name))) or 0)


def _number(value: object) -> float | None:
    """Read a number that is none below nought; a CSV has it as text."""
    if isinstance(value, bool) or value in ("", None):
        return None
    try:
        found = float(value)  # type: ignore[arg-type]  # whatever it is, float says so
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and found >= 0 else None


def _text(value: object) -> str:
    return value.strip()[:200] if isinstance(value, str) else ""


def _flag(value: object) -> bool:
    return value is True or str(value).strip().lower() in {"1", "true", "t", "yes"}


def _priority(value: object) -> Priority:
    try:
        return Priority(str(value))
    except ValueError:
        return Priority.NORMAL
