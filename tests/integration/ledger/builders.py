"""Records to keep: full ones, so that nothing of them can be forgotten in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common import codec
from common.bus.streams import Kept
from common.codec import Encoding
from common.energy import Energy, PowerSummary
from common.frames import End, Finish
from common.messages import ChatRequest, EngineTimings, Priority, Usage
from common.records import DeviceEntry, Entry, JobEntry, PowerEntry
from common.subjects import Subjects
from dispatcher.ledger.reading import read
from dispatcher.ledger.store import Came
from dispatcher.outcomes import Attempt, Cached, CacheOutcome, Candidate, Cascaded, Delivered, Job, Settled, Terms
from dispatcher.record import account
from dispatcher.record.energy import accounted
from dispatcher.record.entries import job_entry
from dispatcher.tariff import Rate

NOON = 1_795_262_400.0
"""2026-11-21, 12:00 UTC."""

SUBJECTS = Subjects()


RATE = Rate(per_kwh=180_000.0, currency="EUR", g_co2e_per_kwh=360_000.0)
"""0.05 EUR and 0.1 g a joule: round sums of few joules."""

SITES = {"orin": "lab"}


def took(joules: float, **fields: Any) -> Energy:
    """What a device tells of an attempt."""
    return Energy(joules=joules, measured=True, source="ina3221", uncertainty=0.05, **fields)


def job(number: int = 1, **changes: Any) -> JobEntry:
    """A job whose first attempt was lost on one device, and whose second answered on another, as a dispatcher tells it."""
    return replace(_told(number), **changes)


CHOSEN = Candidate(
    device="orin", model="llama3.2:1b", score=0.75, terms=Terms(0.5, 1.0, 0.25), reason="hybrid: it was quickest", warm=True,
    predicted_first_token_s=0.5, predicted_total_s=1.0,
)  # fmt: skip


def _told(number: int) -> JobEntry:
    end = End(
        finish=Finish.STOP,
        usage=Usage(prompt_tokens=30, completion_tokens=10),
        engine=EngineTimings(load_s=1.0, prefill_s=0.25),
        cost_usd=0.25,
        cost_estimated=True,
    )
    lost = Attempt(
        number=1,
        device="nano",
        model="qwen2.5:0.5b",
        outcome="silent",
        detail="no word",
        energy=took(2.0, idle_joules=0.5),
    )
    good = Attempt(
        number=2, device="orin", model="llama3.2:1b", outcome="ok", accept_s=0.01, total_s=1.0,
        energy=took(10.0, idle_joules=2.5, tokens=10),
    )  # fmt: skip
    delivered = Delivered(
        attempts=(lost, good),
        decision=Settled(strategy="hybrid", brief={"strategy": "hybrid", "options": [["orin", "llama3.2:1b", 0.75]]}),
        chosen=CHOSEN,
        end=end,
        queue_s=0.1,
        first_token_s=0.5,
        cascaded=Cascaded(weak=CHOSEN, escalated=False, score=0.9, threshold=0.5, by="rules", why="fine"),
        cached=Cached(outcome=CacheOutcome.MISS, reason="none alike"),
    )
    return replace(_entry(number, delivered), saved_usd=0.125, saved_against="gpt-4o@cloud", cloud_usd=0.375)


def _entry(number: int, delivered: Delivered) -> JobEntry:
    asked = Job(
        id=f"job-{number}", tenant="default", kind="chat", request=ChatRequest(prompt="hi"), model="auto", device=None, messages=(),
        reply="_INBOX.test", encoding=Encoding.JSON, received_s=0.0, received_unix_s=NOON + number, deadline_s=60.0,
        deadline_unix_s=NOON + number + 60.0, priority=Priority.NORMAL,
    )  # fmt: skip
    kept = account.record(asked, accounted(delivered, RATE), total_s=1.5, record=f"01{number:024d}")
    return job_entry(kept, "d1", SITES.get)


def hit(number: int = 1) -> JobEntry:
    """A job that was answered from the cache, with an answer of the same model."""
    note = Cached(outcome=CacheOutcome.HIT, kind="exact")
    chosen = replace(CHOSEN, device="cache", cached=note)
    end = End(usage=Usage(prompt_tokens=30, completion_tokens=10))
    return _entry(number, Delivered(chosen=chosen, end=end, cached=note))


def elsewhere(number: int = 1) -> JobEntry:
    """A job that a model of a provider answered: what that drew nobody knows."""
    attempt = Attempt(number=1, device="orin", model=CHOSEN.model, outcome="ok")
    return _entry(number, Delivered(chosen=CHOSEN, attempts=(attempt,), end=End(usage=Usage(completion_tokens=10))))


def event(number: int = 1, **changes: Any) -> DeviceEntry:
    """What a device went through."""
    entry = DeviceEntry(
        record=f"01{number:024d}",
        dispatcher="d1",
        device="nano",
        event="tripped",
        at_unix_s=NOON + number,
        boot="b1",
        state="ready",
        why="three in a row",
        site="lab",
        temperature_c=71.5,
        throttled=True,
        throttling=("soft temperature limit",),
        watts=9.5,
        agent_version="0.1.0",
    )
    return replace(entry, **changes)


def minute(number: int = 1, **changes: Any) -> PowerEntry:
    """What a device drew in a minute."""
    entry = PowerSummary(
        device="nano",
        boot="b1",
        seq=number,
        from_unix_s=NOON + 60 * number,
        to_unix_s=NOON + 60 * (number + 1),
        samples=60,
        mean_w=5.0 + number,
        least_w=4.0,
        most_w=9.0 + number,
        energy_j=60 * (5.0 + number),
        jobs_j=12.0,
        jobs=1,
        idle_w=4.0,
        source="ina3221",
        measured=True,
        uncertainty=0.05,
        in_flight=0.5,
        temperature_c=50.0 + number / 2,
        memory_used_bytes=(3 << 30) + number,
        memory_total_bytes=8 << 30,
    )
    return replace(entry, **changes)


def subject_of(entry: Entry) -> str:
    """Give where an entry is told."""
    match entry:
        case JobEntry():
            return SUBJECTS.record("job", entry.tenant)
        case DeviceEntry():
            return SUBJECTS.record("device", entry.device)
        case PowerSummary():
            return SUBJECTS.record("power", entry.device)


def payload(entry: Entry) -> bytes:
    return codec.encode(codec.plain(entry))


def came(*entries: Entry, first_seq: int = 1) -> list[Came]:
    """Give entries as the stream gives them."""
    return [came_raw(subject_of(one), payload(one), seq) for seq, one in enumerate(entries, first_seq)]


def came_raw(subject: str, data: bytes, seq: int = 1) -> Came:
    return read(Kept(subject=subject, data=data, seq=seq, stored_unix_s=NOON), SUBJECTS)
