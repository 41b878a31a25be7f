"""What a device was like, out of both databases, and over the bus."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common import codec
from common.bus.memory import MemoryBroker, connect_memory
from common.errors import BadRequest, PayloadTooLarge
from common.history import MOST_EVENTS, DeviceHistory, HistoryQuery
from common.ledger import ask
from dispatcher.ledger.database import Database
from dispatcher.ledger.desk import Desk
from dispatcher.ledger.history import once
from dispatcher.ledger.store import Store
from tests.integration.ledger.builders import NOON, SUBJECTS, came, event, minute

HOUR = HistoryQuery(device="nano", until_unix_s=NOON + 599.0, since_s=600)


async def told(database: Database, query: HistoryQuery) -> DeviceHistory:
    async with connect_memory(MemoryBroker()) as bus, Desk(bus, SUBJECTS, database).open():
        return codec.build(DeviceHistory, await ask(bus, SUBJECTS, "history", query))


async def test_power_is_told_by_steps(database: Database) -> None:
    """Weighed by time where intervals differ; another device's, and what is out of the span, is not in it."""
    long = minute(2, to_unix_s=NOON + 240.0, measured=False, in_flight=2.0)
    others = [minute(3, device="pi"), minute(-1), minute(10)]
    bare = minute(6, in_flight=None, temperature_c=None, memory_used_bytes=None, memory_total_bytes=None)
    await Store(database).write(came(minute(1), minute(2, boot="b0", to_unix_s=NOON + 120.0), long, *others, bare))
    found = await told(database, replace(HOUR, step_s=300))
    first, second = found.points

    assert (NOON, NOON + 600, 300) == (found.since_unix_s, found.until_unix_s, found.step_s)
    assert (NOON, 180.0, (6 * 60 + 7 * 120) / 180, 4.0, 11.0, 360 + 2 * 420, 3) == (
        first.from_unix_s,
        first.seconds,
        pytest.approx(first.watts),
        first.least_w,
        first.most_w,
        first.energy_j,
        first.jobs,
    )
    assert (1 / 3, (0.5 * 60 + 2.0 * 120) / 180, 51.0, (3 << 30) + 2, 8 << 30) == (
        pytest.approx(first.measured_share),
        pytest.approx(first.in_flight),
        first.temperature_c,
        first.memory_used_bytes,
        first.memory_total_bytes,
    )
    assert (NOON + 300, 11.0, None, None) == (second.from_unix_s, second.watts, second.in_flight, second.temperature_c)


async def test_events_are_told_once_however_many_dispatchers_saw_them(database: Database) -> None:
    """Newest first, with the last one ahead of the span; another device's is none."""
    twice = [event(2), event(3, dispatcher="d2", at_unix_s=NOON + 3.5)]
    again = event(4, dispatcher="d2", at_unix_s=NOON + 30.0)
    earlier = [event(5, at_unix_s=NOON - 10.0, event="joined"), event(6, at_unix_s=NOON - 20.0)]
    await Store(database).write(came(*twice, again, *earlier, event(7, device="pi")))
    found = await told(database, replace(HOUR, step_s=60))

    assert [NOON + 30.0, NOON + 2] == [one.at_unix_s for one in found.events]
    assert ("tripped", "ready", 71.5, ("soft temperature limit",), 9.5) == (
        found.events[0].event,
        found.events[0].state,
        found.events[0].temperature_c,
        found.events[0].throttling,
        found.events[0].watts,
    )
    assert (False, NOON - 20.0) == (found.more_events, found.before.at_unix_s if found.before else None)


def test_a_device_that_goes_through_the_same_again_is_told_again() -> None:
    """By one dispatcher each counts; by another one what comes soon is the same, unless the device has started anew."""
    first, soon = event(1), event(2)
    other, anew = event(3, dispatcher="d2"), event(4, dispatcher="d2", boot="b2")

    assert [anew, soon, first] == once([anew, other, soon, first])


async def test_of_many_events_the_newest_are_told(database: Database) -> None:
    """And that there are more."""
    many = [event(number, at_unix_s=NOON + number / 10) for number in range(MOST_EVENTS + 1)]
    await Store(database).write(came(*many))
    found = await told(database, HOUR)

    assert (MOST_EVENTS, True, NOON + 50.0) == (len(found.events), found.more_events, found.events[0].at_unix_s)


async def test_of_a_device_that_nobody_knows_nothing_is_told(database: Database) -> None:
    """That is no error here: whoever asks knows which there are."""
    found = await told(database, replace(HOUR, device="nobody"))

    assert ((), (), None, 60) == (found.points, found.events, found.before, found.step_s)


async def test_what_is_asked_for_has_bounds(database: Database) -> None:
    """A thousand steps at most, and no more than the bus carries."""
    await Store(database).write(came(*(event(number) for number in range(100))))
    async with connect_memory(MemoryBroker(max_payload=18_000)) as bus, Desk(bus, SUBJECTS, database).open():
        with pytest.raises(BadRequest, match="set step_s to 4 or more"):
            await ask(bus, SUBJECTS, "history", replace(HOUR, since_s=3600, step_s=3))
        with pytest.raises(PayloadTooLarge, match="shorter span"):
            await ask(bus, SUBJECTS, "history", HOUR)
