"""Records to keep: full ones, so that nothing of them can be forgotten in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common import codec
from common.bus.streams import Kept
from common.energy import Energy, PowerSummary
from common.messages import EngineTimings, Usage
from common.records import AttemptEntry, DeviceEntry, Entry, JobEntry, PowerEntry, TermsEntry
from common.subjects import Subjects
from dispatcher.ledger.reading import read
from dispatcher.ledger.store import Came

NOON = 1_795_262_400.0
"""2026-11-21, 12:00 UTC."""

SUBJECTS = Subjects()


def job(number: int = 1, **changes: Any) -> JobEntry:
    """A job whose first attempt was lost on one device, and whose second answered on another."""
    lost = Energy(joules=2.0, idle_joules=0.5, lost_joules=2.0, measured=True, source="ina3221", uncertainty=0.05)
    entry = JobEntry(
        record=f"01{number:024d}",
        dispatcher="d1",
        job=f"job-{number}",
        tenant="default",
        kind="chat",
        state="done",
        received_unix_s=NOON + number,
        total_s=1.5,
        priority="normal",
        asked_model="auto",
        device="orin",
        site="lab",
        model="llama3.2:1b",
        reason="hybrid: it was quickest",
        strategy="hybrid",
        score=0.75,
        terms=TermsEntry(tokens=0.5, topic=1.0, health=0.25),
        attempts=(
            AttemptEntry(number=1, device="nano", model="qwen2.5:0.5b", outcome="silent", detail="no word", energy=lost),
            AttemptEntry(number=2, device="orin", site="lab", model="llama3.2:1b", outcome="ok", accept_s=0.01, total_s=1.0),
        ),
        usage=Usage(prompt_tokens=30, completion_tokens=10),
        engine=EngineTimings(load_s=1.0, prefill_s=0.25),
        cost_usd=0.25,
        cost_estimated=True,
        energy=Energy(
            joules=12.0, idle_joules=3.0, lost_joules=2.0, measured=True, source="ina3221", uncertainty=0.05, tokens=10,
            cost=0.6, currency="EUR", co2e_g=1.2,
        ),
        saved_usd=0.125,
        finish="stop",
        queue_s=0.1,
        first_token_s=0.5,
        escalated=False,
        decision={"strategy": "hybrid", "options": [["orin", "llama3.2:1b", 0.75]]},
        cache={"outcome": "miss", "reason": "none alike"},
    )  # fmt: skip
    return replace(entry, **changes)


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
