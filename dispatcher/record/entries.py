"""Records and device events as they travel to the ledger: bounded, and without what would quote a request. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ulid import ULID

from common.errors import BY_CODE, FleetError, RequestError
from common.records import MOST_ATTEMPTS, PROSE_CHARS, AttemptEntry, DeviceEntry, JobEntry, TermsEntry
from dispatcher.outcomes import Attempt, JobRecord
from dispatcher.roster import DeviceEvent


def job_entry(record: JobRecord, dispatcher: str, site: Callable[[str], str | None]) -> JobEntry:
    """Give a record as it travels: bounded, and without what would quote a request."""
    cached = None if record.cached is None else record.cached.account()
    return JobEntry(
        record=record.record,
        dispatcher=dispatcher,
        job=record.job,
        tenant=record.tenant,
        kind=record.kind,
        state=str(record.state),
        received_unix_s=record.received_unix_s,
        total_s=record.total_s,
        priority=None if record.priority is None else str(record.priority),
        asked_model=record.asked_model[:200],
        device=_cut(record.device, 200),
        site=None if record.device is None else site(record.device),
        model=_cut(record.model, 200),
        reason=_cut(record.reason, PROSE_CHARS),
        strategy=_cut(record.strategy, 64),
        score=record.score,
        terms=None
        if record.terms is None
        else TermsEntry(tokens=record.terms.tokens, topic=record.terms.topic, health=record.terms.health),
        attempts=tuple(_attempt(one, site(one.device)) for one in record.attempts[-MOST_ATTEMPTS:]),
        usage=record.usage,
        engine=record.engine,
        cost_usd=record.cost_usd,
        cost_estimated=record.cost_estimated,
        energy=record.energy,
        saved_usd=record.saved_usd,
        saved_against=_cut(record.saved_against, 200),
        cloud_usd=record.cloud_usd,
        finish=_cut(record.finish, 64),
        queue_s=record.queue_s,
        first_token_s=record.first_token_s,
        error=_cut(record.error, 64),
        error_message=_cut(record.error_message, PROSE_CHARS),
        simulated=record.simulated,
        escalated=record.escalated,
        decision=None if record.decision is None else dict(record.decision),
        cache=cached,
    )


def device_entry(event: DeviceEvent, dispatcher: str, at_unix_s: float) -> DeviceEntry:
    """Give a change of the roster as it travels."""
    beat, breaker = event.device.beat, event.device.breaker
    return DeviceEntry(
        record=str(ULID.from_timestamp(at_unix_s)),
        dispatcher=dispatcher,
        device=beat.device,
        event=str(event.change),
        at_unix_s=at_unix_s,
        boot=beat.boot,
        state=str(beat.state),
        why=_cut(beat.reason or breaker.why or None, PROSE_CHARS),
        site=beat.site,
        simulated=beat.simulated,
        temperature_c=beat.temperature_c,
        throttled=beat.throttled,
        throttling=tuple(one[:200] for one in beat.throttling),
        watts=beat.watts,
        agent_version=beat.agent_version[:200],
    )


def _attempt(one: Attempt, site: str | None) -> AttemptEntry:
    # The message of an error that blames the request quotes it.
    quotes = issubclass(BY_CODE.get(one.outcome, FleetError), RequestError)
    return AttemptEntry(
        number=one.number,
        device=one.device[:200],
        model=one.model[:200],
        outcome=one.outcome[:64],
        detail=None if quotes else _cut(one.detail, PROSE_CHARS),
        site=site,
        beside=one.beside,
        queued_s=one.queued_s,
        accept_s=one.accept_s,
        first_token_s=one.first_token_s,
        total_s=one.total_s,
        cost_usd=one.cost_usd,
        cost_estimated=one.cost_estimated,
        continues=one.continues,
        energy=one.energy,
    )


def _cut(text: str | None, most: int) -> str | None:
    return None if text is None else text[:most]
