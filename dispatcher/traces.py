"""What a dispatcher's spans tell of a job: its receipt, its route, its wait, its attempts, its end; never a prompt or a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from common import tracing
from common.tracing import Kind, Span
from dispatcher.outcomes import Attempt, Candidate, Job, JobRecord


def traced(job: Job, headers: Mapping[str, str]) -> Job:
    """Give the job its span, below the one that its request names; without traces it stays as it is."""
    if not tracing.active():
        return job
    values: dict[str, tracing.Value | None] = {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "messaging.message.id": job.id,
        "drover.job": job.id,
        "drover.asked_model": job.model,
        "drover.priority": str(job.priority),
    }
    return replace(job, trace=tracing.begin(f"{job.kind} job", headers, Kind.CONSUMER, values))


def attempted(job: Job, candidate: Candidate, number: int, *, beside: bool) -> Span:
    """Begin the span of an attempt; the device's own is below it."""
    if not tracing.active():
        return tracing.OFF
    values: dict[str, tracing.Value | None] = {
        "messaging.system": "nats",
        "messaging.operation.type": "send",
        "drover.job": job.id,
        "drover.attempt": number,
        "drover.device": candidate.device,
        "drover.model": candidate.model,
        "drover.reason": candidate.reason,
        "drover.beside": beside,
    }
    return job.trace.child(f"attempt {candidate.device}", Kind.CLIENT, values)


def ended(span: Span, attempt: Attempt) -> None:
    """End the span of an attempt with how it went; one that was outrun or cancelled has not failed."""
    if span is tracing.OFF:
        return
    span.note({"drover.outcome": attempt.outcome, "drover.accept_s": attempt.accept_s})
    if attempt.first_token_s is not None:
        span.event("first token", attempt.first_token_s)
    span.end(None if attempt.outcome in {"ok", "outrun", "cancelled"} else attempt.outcome)


def recorded(span: Span, record: JobRecord) -> None:
    """End the span of a job with what its record says."""
    if span is tracing.OFF:
        return
    span.note(
        {
            "drover.state": str(record.state),
            "drover.device": record.device,
            "drover.model": record.model,
            "drover.strategy": record.strategy,
            "drover.attempts": len(record.attempts),
            "drover.queue_s": record.queue_s,
            "drover.cache": None if record.cached is None else str(record.cached.outcome),
            "drover.energy.joules": None if record.energy is None else record.energy.joules,
            "drover.energy.measured": None if record.energy is None else record.energy.measured,
            "drover.cost_usd": record.cost_usd,
        }
    )
    if record.first_token_s is not None:
        span.event("first token", record.first_token_s)
    span.end(record.error)
