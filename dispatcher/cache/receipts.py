"""What an answer took, and how it is told whose it was; plain values, of which nobody keeps any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common.clock import seconds_text
from common.energy import total
from common.errors import DeadlineExceeded
from common.messages import Usage
from dispatcher.cache.finding import Found, Look
from dispatcher.cache.values import Kind, Receipt
from dispatcher.outcomes import Cached, CacheOutcome, Candidate, Delivered, Job, Terms

DEVICE = "cache"
"""Where an answer comes from that no device gives now."""


def receipt_of(job: Job, delivered: Delivered, chosen: Candidate, *, digest: str, total_s: float) -> Receipt:
    """Say what an answer took."""
    end = delivered.end
    spent = total(one.energy for one in delivered.attempts if one.energy is not None)
    return Receipt(
        job=job.id,
        device=chosen.device,
        model=chosen.model,
        digest=digest,
        usage=Usage() if end is None else delivered.answer_usage,
        total_s=total_s,
        energy_j=None if spent is None else spent.joules,
        energy_estimated=spent is None or not spent.measured,
        cost_usd=None if end is None else end.cost_usd,
        cost_estimated=end is not None and end.cost_estimated,
        simulated=chosen.simulated,
    )


def saved(receipt: Receipt) -> dict[str, Any]:
    """Say what giving an answer again saves."""
    told: dict[str, Any] = {"s": round(receipt.total_s, 3), "tokens": receipt.usage.completion_tokens}
    if receipt.energy_j is not None:
        told |= {"energy_j": round(receipt.energy_j, 3)} | (
            {"energy_estimated": True} if receipt.energy_estimated else {}
        )
    if receipt.cost_usd is not None:
        told |= {"cost_usd": receipt.cost_usd} | ({"cost_estimated": True} if receipt.cost_estimated else {})
    return told


def hit(found: Found, now_unix_s: float) -> Cached:
    """Say whose answer is given."""
    entry, said = found.entry, found.judgement
    receipt, age_s = entry.receipt, max(0.0, now_unix_s - entry.created_unix_s)
    same = "the same request" if found.kind is Kind.EXACT else f"a question {found.similarity:.2f} alike"
    return Cached(
        outcome=CacheOutcome.HIT,
        why=f"{same} was answered {age_s:.0f} s ago by {receipt.device}" + (f": {said.why}" if said else ""),
        kind=str(found.kind),
        id=entry.id,
        similarity=found.similarity,
        chance=None if said is None else said.chance,
        age_s=age_s,
        source={"job": receipt.job, "device": receipt.device, "model": receipt.model},
        saved=saved(receipt),
    )


def looked(look: Look, now_unix_s: float) -> Cached:
    """Say what a look came to."""
    if look.found is None:
        return Cached(outcome=look.outcome, why=look.why, reason=look.reason)
    told = hit(look.found, now_unix_s)
    if look.serves:
        return told
    shadow = {"id": told.id, "similarity": told.similarity, "chance": told.chance, "would": True, "why": told.why}
    why = "shadow: likeness is looked at, and not given"
    return Cached(outcome=look.outcome, why=why, reason="shadow", shadow=shadow)


def given(found: Found, note: Cached) -> Candidate:
    """Give what stands where else the chosen device and model do: nobody was chosen."""
    receipt = found.entry.receipt
    return Candidate(
        device=DEVICE,
        model=receipt.model,
        score=0.0,
        terms=Terms(0.0, 0.0, 0.0),
        reason=f"{note.kind}: {note.why}",
        warm=True,
        simulated=receipt.simulated,
        predicted_first_token_s=0.0,
        predicted_total_s=0.0,
        cached=note,
    )


def attached(leader: Job, candidate: Candidate) -> Candidate:
    """Give a leader's candidate as its followers are told of it."""
    note = Cached(
        outcome=CacheOutcome.HIT,
        why=f"job {leader.id} asks the same, and is being answered",
        kind=str(Kind.ATTACHED),
        source={"job": leader.id, "device": candidate.device, "model": candidate.model},
    )
    return replace(candidate, reason=f"{note.kind}: {note.why}", cached=note)


def late(job: Job) -> DeadlineExceeded:
    """Say that a job's time was over before the answer to the other one was complete."""
    return DeadlineExceeded(
        f"the answer was not complete within {seconds_text(job.deadline_s - job.received_s)}: allow more time (timeout_s), "
        "or try again later",
        retry_after_s=1.0,
    )
