"""From how delivery ended to the record, and to the account that travels with the answer. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common import energy
from common.errors import DeadlineInfeasible, FleetError, JobCancelled, QueueFull
from common.frames import COST_DIGITS
from common.messages import EngineTimings, Usage
from dispatcher.outcomes import Attempt, Candidate, Delivered, Job, JobRecord, JobState

MOST_WEIGHTS = 8
"""Shares of devices that an answer tells, as a decision in short does."""


def record(job: Job, delivered: Delivered, *, total_s: float, record: str) -> JobRecord:
    """Build the one record of a job that was admitted, with its energy as it is accounted; `record` is its own id."""
    chosen, end, error = delivered.chosen, delivered.end, delivered.error
    scored = None if chosen is None or chosen.cached is not None else chosen  # from the cache nobody was chosen
    cost_usd, cost_estimated = _cost(delivered)
    saving = _saving(delivered)
    return JobRecord(
        record=record,
        job=job.id,
        tenant=job.tenant,
        kind=job.kind,
        state=_state(delivered),
        received_unix_s=job.received_unix_s,
        total_s=total_s,
        priority=job.priority,
        asked_model=job.request.model,
        device=chosen.device if chosen else None,
        model=chosen.model if chosen else None,
        reason=chosen.reason if chosen else None,
        strategy=delivered.decision.strategy if delivered.decision else None,
        score=scored.score if scored else None,
        terms=scored.terms if scored else None,
        attempts=delivered.attempts,
        usage=end.usage if end else Usage(),
        engine=end.engine if end else EngineTimings(),
        cost_usd=cost_usd,
        cost_estimated=cost_estimated,
        energy=delivered.energy,
        finish=str(end.finish) if end else None,
        queue_s=delivered.queue_s,
        first_token_s=delivered.first_token_s,
        error=error.code if error else None,
        error_message=error.summary if error else None,
        simulated=chosen.simulated if chosen else False,
        escalated=delivered.cascaded.escalated if delivered.cascaded else None,
        saved_usd=saving.usd if saving else None,
        saved_against=saving.against if saving else None,
        cloud_usd=saving.cloud_usd if saving else None,
        decision=(delivered.decision.brief or None) if delivered.decision else None,
        cached=delivered.cached,
    )


def refusal(error: FleetError, *, record: str, job: str, tenant: str, kind: str, received_unix_s: float) -> JobRecord:
    """Build the record of a request that was refused at the door."""
    return JobRecord(
        record=record,
        job=job,
        tenant=tenant,
        kind=kind,
        state=JobState.REFUSED,
        received_unix_s=received_unix_s,
        total_s=0.0,
        error=error.code,
        error_message=error.summary,
    )


def route(job: Job, delivered: Delivered, *, total_s: float) -> dict[str, Any]:
    """Give the account of a job as it travels in the final frame; it is `Answer.route` of the client."""
    wire: dict[str, Any] = {
        "job": job.id,
        "attempts": [_attempt(attempt) for attempt in delivered.attempts],
        "timings": _timings(delivered, total_s),
    }
    if delivered.decision is not None:
        wire |= {"strategy": delivered.decision.strategy, "weights": _weights(delivered.decision.weights)}
        wire["features"] = _features(delivered.decision.features)
    cost_usd, estimated = _cost(delivered)
    if cost_usd is not None:
        wire |= {"cost_usd": round(cost_usd, COST_DIGITS), **({"cost_estimated": True} if estimated else {})}
    if delivered.end is None and delivered.energy is not None:
        wire["energy"] = energy.to_wire(delivered.energy)  # an end has it in its own place
    if (saving := _saving(delivered)) is not None:
        wire |= {"saved_usd": round(saving.usd, COST_DIGITS), "saved_against": saving.against}
    if delivered.chosen is not None:
        wire |= _chosen(delivered.chosen) | {"reason": delivered.chosen.reason}
    if delivered.cached is not None:
        wire["cache"] = delivered.cached.brief()
    if delivered.cascaded is not None:
        wire["cascade"] = delivered.cascaded.brief()
    return wire


def _cost(delivered: Delivered) -> tuple[float | None, bool]:
    """Give what the answer and the attempts that failed have cost, and whether not all of it was counted by a provider."""
    paid = [one for one in (delivered.end, *delivered.attempts) if one is not None and one.cost_usd is not None]
    return sum(one.cost_usd or 0.0 for one in paid) if paid else None, any(one.cost_estimated for one in paid)


@dataclass(frozen=True, slots=True)
class _Saving:
    """What an answer would have cost at the model that is compared with, and what that is more than it did cost."""

    against: str
    cloud_usd: float
    usd: float


def _saving(delivered: Delivered) -> _Saving | None:
    """Compare the answer's cost; None where nothing costs."""
    decision, end = delivered.decision, delivered.end
    price = decision.reference if decision is not None else None
    if price is None or end is None:
        return None
    usage = delivered.answer_usage
    cloud_usd = price.usd(usage.prompt_tokens, usage.completion_tokens)
    return _Saving(f"{price.model}@{price.device}", cloud_usd, price.saved_usd(usage, end.cost_usd))


def _features(features: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the labelled prompts that the trained router looked at: they are the owner's, and not the producer's."""
    return {
        name: {key: part for key, part in value.items() if key != "neighbours"} if isinstance(value, Mapping) else value
        for name, value in features.items()
    }


def _weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Tell the greatest ones: shares may be of thousands of devices, and the answer has to fit a message."""
    return dict(heapq.nlargest(MOST_WEIGHTS, weights.items(), key=lambda one: one[1]))


def _state(delivered: Delivered) -> JobState:
    if delivered.error is None:
        return JobState.DONE
    if isinstance(delivered.error, QueueFull | DeadlineInfeasible) and not delivered.attempts:
        return JobState.REFUSED
    return JobState.CANCELLED if isinstance(delivered.error, JobCancelled) else JobState.FAILED


def _chosen(chosen: Candidate) -> dict[str, Any]:
    if chosen.cached is not None:
        return {"device": chosen.device, "model": chosen.model, "simulated": chosen.simulated}
    return {
        "device": chosen.device,
        "model": chosen.model,
        "score": round(chosen.score, 4),
        "terms": {
            "tokens": round(chosen.terms.tokens, 4),
            "topic": round(chosen.terms.topic, 4),
            "health": round(chosen.terms.health, 4),
        },
        "simulated": chosen.simulated,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "device": attempt.device,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "s": round(attempt.total_s, 3),
    }
    if attempt.beside:
        wire["beside"] = True
    if attempt.detail:
        wire["detail"] = attempt.detail
    if attempt.cost_usd is not None:
        wire["cost_usd"] = round(attempt.cost_usd, COST_DIGITS)
    if attempt.energy is not None:
        wire["joules"] = round(attempt.energy.joules, 3)
    return wire


def _timings(delivered: Delivered, total_s: float) -> dict[str, float]:
    usage, engine = (delivered.end.usage, delivered.end.engine) if delivered.end else (Usage(), EngineTimings())
    known = {
        "queue_s": delivered.queue_s,
        "accept_s": next((one.accept_s for one in reversed(delivered.attempts) if one.outcome == "ok"), None),
        "load_s": engine.load_s,
        "prefill_s": engine.prefill_s,
        "first_token_s": delivered.first_token_s,
        "total_s": total_s,
        "decode_tps": usage.completion_tokens / engine.decode_s if engine.decode_s else None,
    }
    return {key: round(value, 4) for key, value in known.items() if value is not None}
