"""The HTTP headers of our answers: where a job ran and why, and what a browser may do with a page; plain values only."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from common.energy import Energy
from common.frames import RouteNote
from common.subjects import as_token

JOB_HEADER = "x-drover-job"
PRIORITY_HEADER = "x-drover-priority"
TASK_HEADER = "x-drover-task"
STRATEGY_HEADER = "x-drover-strategy"
COST_HEADER = "x-drover-max-cost-usd"
KEY_HEADER = "x-drover-provider-key"
CACHE_HEADER = "x-drover-cache"
CONTROL_HEADER = "cache-control"
PROGRESS_HEADER = "x-drover-progress"
TIMEOUT_HEADER = "x-drover-timeout"
QUEUE_HEADER = "x-drover-queue-s"
CONVERSATION_HEADER = "x-drover-conversation"
ENERGY_HEADER = "x-drover-energy"
REQUEST_HEADER = "request-id"
"""Anthropic's: its clients show it with each answer and error."""
EXPOSED = (
    JOB_HEADER,
    CONVERSATION_HEADER,
    QUEUE_HEADER,
    ENERGY_HEADER,
    REQUEST_HEADER,
    CACHE_HEADER,
    "x-drover-device",
    "x-drover-model",
    "x-drover-reason",
    "retry-after",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
)
"""What a page of another site may read, where it may use the bridge."""

MAX_VALUE = 200
"""Characters of a header value; the full reason stands in the body's `x_drover`."""

MAX_WHY = 120
"""Characters of a reason that shares its header with other facts."""

_LOOKALIKES = str.maketrans(
    {"·": "-", "\u2013": "-", "—": "-", "…": "...", "→": "->", "≥": ">=", "≤": "<=", "\u00d7": "x"}
)

API_POLICY = "default-src 'none'; frame-ancestors 'none'"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "require-trusted-types-for 'script'; trusted-types drover"
)
"""No remote host, images included: an answer's markdown can't carry text away. Trusted types leave one
policy, `drover`, as the only maker of HTML and of workers' addresses: see `ui/core/html.js`."""

FORGET = {"clear-site-data": '"storage"'}
"""For whoever logs out: browsers forget what any tab kept of what was typed, and the page puts back its colours and columns. They
do so over HTTPS and at localhost alone; elsewhere the page forgets what its own tab kept."""

DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Swagger UI writes style attributes and HTML of its own."""

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def header_text(value: str) -> str:
    """Make any text fit for a header: printable ASCII, no line breaks, bounded."""
    if len(value) <= MAX_VALUE and value.isascii() and value.isprintable() and "  " not in value:
        return value.strip()  # as nearly all are
    plain = unicodedata.normalize("NFKD", value.translate(_LOOKALIKES))
    ascii_only = plain.encode("ascii", "ignore").decode()
    printable = "".join(char if char.isprintable() else " " for char in ascii_only)
    return " ".join(printable.split())[:MAX_VALUE].rstrip()


def cache_text(told: Mapping[str, Any]) -> str:
    """Say what the cache did for an answer: `hit` with where that is from, or why there was none. What is no fact is left out."""
    return "; ".join([as_token(str(told.get("outcome", "unknown"))), *_cache_facts(told)])


def energy_text(taken: Energy) -> str:
    """Say what an answer took: `12.3 J; measured; uncertainty=0.05; source=ina3221`, and what it cost where a tariff is set."""
    parts = [
        f"{taken.joules:.6g} J",
        "measured" if taken.measured else "estimated",
        f"uncertainty={taken.uncertainty:.2g}",
    ]
    parts.append(f"source={as_token(taken.source)}")
    if taken.cost is not None:
        parts.append(f"cost={taken.cost:.3g} {taken.currency}")
    if taken.co2e_g is not None:
        parts.append(f"co2e_g={taken.co2e_g:.3g}")
    return "; ".join(parts)


def _cache_facts(told: Mapping[str, Any]) -> Iterator[str]:
    if told.get("outcome") != "hit":
        if isinstance(why := told.get("why"), str) and why:
            quotable = header_text(why)[:MAX_WHY].rstrip().replace("\\", "/").replace('"', "'")
            yield f'why="{quotable}"'
        return
    source = told.get("source")
    facts = {
        "kind": _name(told.get("kind")),
        "similarity": _figure(told.get("similarity"), 4),
        "age": _figure(told.get("age_s"), 0),
        "source": _name(source.get("device") if isinstance(source, Mapping) else None),
        "id": _name(told.get("id")),
    }
    yield from (f"{name}={value}" for name, value in facts.items() if value)


def _name(value: object) -> str:
    return as_token(value) if isinstance(value, str) and value else ""


def _figure(value: object, digits: int) -> str:
    """Write a number without what says nothing: `1`, `0.97`."""
    return f"{round(value, digits):.15g}" if isinstance(value, int | float) else ""


def route_headers(
    job: str,
    note: RouteNote | None,
    *,
    queue_s: float | None = None,
    cache: Mapping[str, Any] | None = None,
    energy: Energy | None = None,
) -> list[tuple[bytes, bytes]]:
    """Say which job it is, and, as far as it is known, where it runs and why, how long it waited for a slot, and what the cache
    did for it: `cache` is the account's word, and the note's counts where there is none. `energy` is known at the end alone."""
    facts = {JOB_HEADER: job}
    if queue_s is not None:
        facts[QUEUE_HEADER] = f"{queue_s:.3f}"
    cached = cache or (note.cache if note is not None else None)
    if isinstance(cached, Mapping):
        facts[CACHE_HEADER] = cache_text(cached)
    if energy is not None:
        facts[ENERGY_HEADER] = energy_text(energy)
    if note is not None:
        facts |= {"x-drover-device": note.device, "x-drover-model": note.model, "x-drover-reason": note.reason}
    return [(name.encode(), header_text(value).encode()) for name, value in facts.items()]
