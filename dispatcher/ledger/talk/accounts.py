"""What an answer's job took, told with its turn as the last frame of a chat tells it. Pure; it knows no connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common import codec
from common.records import AttemptEntry, JobEntry
from dispatcher.ledger.rows import job_entry
from dispatcher.ledger.tables import jobs

COLUMNS = [column.label(f"its_{column.name}") for column in jobs.c if column is not jobs.c.decision]
"""Of a job beside a turn, whose columns have some of the same names. A decision is read only of one job that is named."""

MOST_ATTEMPTS = 16
"""Of the newest ones: a turn is told with others, and its job's record has all."""

_AS_IS = (
    "job", "device", "model", "reason", "strategy", "score", "terms", "cost_usd", "cost_estimated", "saved_usd", "saved_against",
    "energy", "simulated", "usage",
)  # fmt: skip
_OF_CACHE = ("outcome", "kind", "age_s")
_LEAST_DECODE_S = 0.001
"""What took less was told at once: it has no speed."""


def account_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read what a job took beside its turn; None where nobody has looked, or no record is there. Raises `BadRequest`."""
    if row.get("its_record") is None:
        return None
    job = job_entry({column.name.removeprefix("its_"): row[column.name] for column in COLUMNS})
    wire = codec.plain(job)
    return {
        **{name: wire[name] for name in _AS_IS if name in wire},
        "attempts": [_attempt(one) for one in job.attempts[-MOST_ATTEMPTS:]],
        "timings": _timings(job),
        **({} if job.cache is None else {"cache": {name: job.cache[name] for name in _OF_CACHE if name in job.cache}}),
    }


def _attempt(one: AttemptEntry) -> dict[str, Any]:
    told = {"device": one.device, "model": one.model, "outcome": one.outcome, "s": one.total_s}
    return told if one.detail is None else {**told, "detail": one.detail}


def _timings(job: JobEntry) -> dict[str, float]:
    engine, tokens = job.engine, job.usage.completion_tokens
    decode_s = engine.decode_s
    if decode_s is None and job.first_token_s is not None:
        decode_s = job.total_s - job.first_token_s
    known = {
        "queue_s": job.queue_s,
        "first_token_s": job.first_token_s,
        "load_s": engine.load_s,
        "prefill_s": engine.prefill_s,
        "decode_s": engine.decode_s,
        "total_s": job.total_s,
        "decode_tps": tokens / decode_s if decode_s is not None and decode_s > _LEAST_DECODE_S else None,
    }
    return {name: round(value, 4) for name, value in known.items() if value is not None}
