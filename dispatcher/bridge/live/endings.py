"""How a job ended, as its event tells it and a row of a table shows it; it knows no stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import MaxLen

from common import codec, energy
from common.bus import Delivery
from common.errors import BadRequest
from common.messages import Count, Name, Number, Price, Priority, Token

_KEPT = ("kind", "asked_model", "asked_device", "priority", "queued_unix_s", "attempt", "model", "device")
"""What is known of a job from before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What an event says, as far as rows show it."""

    job: Token
    tenant: Token
    state: Literal["done", "failed", "refused", "cancelled"]
    total_s: Number = 0.0
    queue_s: Number | None = None
    first_token_s: Number | None = None
    priority: Priority | None = None
    device: Token | None = None
    model: Name | None = None
    attempts: Count | None = None
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cost_usd: Price | None = None
    saved_usd: Number | None = None
    cache: dict[str, Any] = field(default_factory=dict)
    energy: Any = None
    error: Annotated[str, MaxLen(64)] | None = None


def read_ending(delivery: Delivery) -> Ending:
    """Read an event. Raises `BadRequest` for what is none, also of another job than its subject names."""
    ending = codec.build(Ending, codec.decode_request(delivery.data))
    if delivery.subject.rsplit(".", 1)[-1] != ending.job:
        raise BadRequest("the event came on another job's subject", param="job")
    return ending


def ended_card(ending: Ending, before: Mapping[str, Any], now_unix_s: float) -> dict[str, Any]:
    """Write a row, with what was known before. When it came is by its dispatcher's clock where that told it, else by the bridge's;
    all else is reckoned from there."""
    begun_unix_s = before.get("queued_unix_s", now_unix_s - ending.total_s)
    took = energy.told(ending.energy)
    told: dict[str, Any] = {
        "id": ending.job,
        "tenant": ending.tenant,
        "state": ending.state,
        "priority": ending.priority,
        "device": ending.device,
        "model": ending.model,
        "queued_unix_s": round(begun_unix_s, 3),
        "first_token_unix_s": _after(begun_unix_s, ending.first_token_s),
        "ended_unix_s": round(begun_unix_s + ending.total_s, 3),
        "queue_s": ending.queue_s,
        "first_token_s": ending.first_token_s,
        "total_s": ending.total_s,
        "attempts": ending.attempts,
        "prompt_tokens": ending.prompt_tokens,
        "tokens": ending.completion_tokens,
        "joules": None if took is None else took.joules,
        "joules_measured": None if took is None else took.measured,
        "cost_usd": ending.cost_usd,
        "saved_usd": ending.saved_usd,
        "cached": True if ending.cache.get("outcome") == "hit" else None,
        "error_code": ending.error,
    }
    known = {name: before[name] for name in _KEPT if name in before}
    return known | {name: value for name, value in told.items() if value is not None}


def _after(begun_unix_s: float, passed_s: float | None) -> float | None:
    return None if passed_s is None else round(begun_unix_s + passed_s, 3)
