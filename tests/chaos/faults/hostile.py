"""Bad input on every subject, and clocks that are an hour off."""

from __future__ import annotations

import asyncio
import time

from common import codec
from common.errors import FleetError, PayloadTooLarge
from tests.chaos.ledger import ANSWERED, Entry
from tests.chaos.load import Load, load
from tests.chaos.outcome import Figure, Outcome, Size, outcome, spread
from tests.chaos.questions import questions
from tests.chaos.world import Plan, World, world
from tests.commands import GUARD_S

REFUSAL_S = 0.05
HOUR_S = 3600.0

_CHAT = "llm.v1.chat.chaos"
REQUESTS = {
    "not JSON": b"{what",
    "no object": b"[1, 2, 3]",
    "MessagePack cut short": b"\x83\xa6prompt\xd9",
    "MessagePack that never ends": b"\xdf\xff\xff\xff\xff",
    "bad UTF-8": b'{"prompt": "\xff\xfe"}',
    "a lone surrogate": b'{"prompt": "\\ud800"}',
    "no prompt": b"{}",
    "wrong types": b'{"prompt": 7, "messages": "no"}',
    "an unknown field": b'{"prompt": "hi", "temprature": 1}',
    "a number without end": b'{"prompt": "hi", "timeout_s": ' + b"9" * 5000 + b"}",
    "deep nesting": b'{"messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a job id with dots": b'{"prompt": "hi", "job": "a.b.>"}',
    "a deadline that is no number": b'{"prompt": "hi", "deadline_ms": "tomorrow"}',
    "nearly the largest message": b'{"prompt": 7, "x": "' + b"x" * 1_000_000 + b'"}',
}
"""Each must be refused by a typed error; what stands beside is why."""

_NOISE = [b"", b"{", b"\xff" * 64, b"[]", b'{"job": 7}', b'{"t": "end", "s": -1}', b"\x00" * 100_000]
_DOORS = [
    "dev.dev1.job",
    "dev.dev1.cancel",
    "dev.dev1.probe",
    "hb.dev1",
    "hb.ghost",
    "ctl.x.cancel",
    "ctl.x.y",
]
_HEADERS = {"Nx-Deadline": "soon", "traceparent": "x" * 3000, "Status": "503"}


async def bad_input(size: Size) -> Outcome:
    """F12: malformed requests are refused by name, noise on every other subject is borne, and the fleet works on."""
    async with world(Plan(dispatchers=1, echo=1)) as house:
        async with load(house.nats.url, questions(house.model), concurrency=2) as asked:
            await asked.answered(2)
            for name, payload in REQUESTS.items():
                for headers in ({}, _HEADERS):
                    asked.ledger.append(await _refused(house, name, payload, headers))
            for door in _DOORS:
                for noise in _NOISE:
                    # With a reply subject that nobody hears: whoever answers must survive that as well.
                    await house.bus.publish(f"llm.v1.{door}", noise, reply="_INBOX_noise.nobody.1.1", headers=_HEADERS)
            await _oversize(asked, house)
            await house.bus.flush()
            await asked.answered(max(20, size.jobs // 20))
        refused = [entry.took_s for entry in asked.ledger if entry.job in REQUESTS]
        return outcome(
            "F12", "malformed input on every subject", house, asked, spread("refused after", refused, REFUSAL_S)
        )


async def _refused(house: World, name: str, payload: bytes, headers: dict[str, str]) -> Entry:
    entry = Entry(job=name, expected="", sent_s=_now(), submissions=1)
    try:
        reply = await house.bus.request(_CHAT, payload, timeout_s=GUARD_S, headers=headers)
        entry.outcome = str(codec.decode(reply.data)["error"]["code"])
    except FleetError as error:
        entry.outcome = error.code
    entry.ended_s = _now()
    return entry


async def _oversize(asked: Load, house: World) -> None:
    """A message that the bus does not carry is refused before it is sent, and the connection lives."""
    entry = Entry(job="oversize", expected="", sent_s=_now(), submissions=1)
    asked.ledger.append(entry)
    try:
        await house.bus.publish(_CHAT, b"x" * (house.bus.max_payload + 1))
    except PayloadTooLarge as error:
        entry.outcome = error.code
    entry.ended_s = _now()


async def wrong_clocks(size: Size) -> Outcome:
    """F12: producers whose deadlines are an hour off, and two of three agents whose clocks are."""
    async with world(Plan(dispatchers=1, echo=3, skews_s=(HOUR_S, -HOUR_S))) as house:
        async with load(house.nats.url, questions(house.model), concurrency=0, patience_s=0) as asked:
            source = questions(house.model)
            for _ in range(max(20, size.jobs // 50)):
                await asked.ask(next(source))
                await asked.ask(next(source), deadline_ms=_unix_ms(HOUR_S))
                await asked.ask(next(source), deadline_ms=_unix_ms(-HOUR_S))
        late = [entry for entry in asked.ledger[2::3] if entry.outcome != "deadline"]
        good = [entry for index, entry in enumerate(asked.ledger) if index % 3 != 2 and entry.outcome != ANSWERED]
        return outcome(
            "F12",
            "clocks an hour off: producers' and agents'",
            house,
            asked,
            Figure(name="jobs in time and not answered", value=len(good), unit="", limit=0),
            Figure(name="jobs too late and not refused so", value=len(late), unit="", limit=0),
            spread("refused after", [entry.took_s for entry in asked.ledger if entry.outcome == "deadline"], REFUSAL_S),
        )


def _unix_ms(ahead_s: float) -> int:
    return int((time.time() + ahead_s) * 1000)


def _now() -> float:
    return asyncio.get_running_loop().time()
