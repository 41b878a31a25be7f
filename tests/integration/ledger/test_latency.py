"""How long answers took, out of both databases, and over the bus."""

from __future__ import annotations

import pytest

from common import codec
from common.bus.memory import MemoryBroker, connect_memory
from common.errors import BadRequest, PayloadTooLarge
from common.latency import Latency, LatencyQuery
from common.ledger import ask
from dispatcher.ledger.database import Database
from dispatcher.ledger.desk import Desk
from dispatcher.ledger.store import Store
from tests.integration.ledger.builders import NOON, SUBJECTS, came, elsewhere, hit, job

HOUR = LatencyQuery(until_unix_s=NOON + 60.0)


async def told(database: Database, query: LatencyQuery, **knobs: int) -> Latency:
    async with connect_memory(MemoryBroker()) as bus, Desk(bus, SUBJECTS, database, **knobs).open():
        return codec.build(Latency, await ask(bus, SUBJECTS, "latency", query))


async def test_chats_are_counted_within_the_span(database: Database) -> None:
    """From its beginning on, up to its end; texts that were embedded are none, nor answers from the cache."""
    before, last, after = (
        job(number, received_unix_s=NOON + at_s) for number, at_s in ((1, -3540.0), (2, 119.9), (3, 120.0))
    )
    embedded, failed = job(4, kind="embed"), job(5, state="failed")
    await Store(database).write(came(before, last, after, embedded, failed, hit(6), elsewhere(7)))
    found = await told(database, HOUR)

    assert (NOON - 3480, NOON + 120, 60) == (found.since_unix_s, found.until_unix_s, found.step_s)
    assert (2, 1, 1) == (found.outcomes.answered, found.outcomes.cache_hits, found.outcomes.failed)
    assert [(58, 1), (59, 1)] == [(one.column, one.count) for one in found.total.columns]
    assert (1.5, 1, 0.5, "ledger", "values") == (
        found.total.p50_s,
        found.first_token.count,
        found.first_token.p50_s,
        found.source,
        found.percentiles_from,
    )


async def test_of_very_many_the_newest_are_looked_at(database: Database) -> None:
    """And from when on none is missing is told."""
    await Store(database).write(came(*(job(number) for number in range(1, 5))))
    found = await told(database, HOUR, most_looked_at=2)

    assert (2, NOON + 3) == (found.total.count, found.left_out_before_unix_s)


async def test_an_answer_that_the_bus_does_not_carry_is_refused(database: Database) -> None:
    """With what to ask for in its place: it has no pages."""
    jobs = [job(number, received_unix_s=NOON - 30 * number, total_s=1.5**number) for number in range(1, 40)]
    await Store(database).write(came(*jobs))
    async with connect_memory(MemoryBroker(max_payload=18_000)) as bus, Desk(bus, SUBJECTS, database).open():
        with pytest.raises(PayloadTooLarge, match="longer steps"):
            await ask(bus, SUBJECTS, "latency", HOUR)


@pytest.mark.parametrize("wrong", ["since_s", "until_unix_s", "step_s", "allow_devices", "nonsense"])
async def test_a_wrong_question_names_what_is_wrong(database: Database, wrong: str) -> None:
    """And the desk goes on."""
    body = {"until_unix_s": NOON, wrong: -1}
    async with connect_memory(MemoryBroker()) as bus, Desk(bus, SUBJECTS, database).open():
        said = codec.decode((await bus.request(SUBJECTS.ledger("latency"), codec.encode(body), timeout_s=20.0)).data)

    assert (BadRequest.code, wrong) == (said["error"]["code"], said["error"]["details"]["param"])
