"""What the gate takes back of what it has asked for, with a ledger whose answers are written here, on a bus in memory."""

from __future__ import annotations

import asyncio

import pytest

from common import codec
from common.bus import Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.clock import LoopClock
from common.errors import (
    BadRequest,
    DuplicateJob,
    FleetError,
    InternalError,
    LedgerUnavailable,
    QuotaSpent,
    Unauthorized,
    UnknownKey,
)
from common.keys import Budget, Grant, Unit
from common.messages import ChatRequest
from common.subjects import Subjects
from dispatcher.bridge.callers import granted
from dispatcher.bridge.gate.gate import Gate, Rules
from dispatcher.fleet import Fleet

SUBJECTS = Subjects()
BUDGET = Budget(unit=Unit.TOKENS, limit=100_000)
GRANT = Grant(key="abcdefgh", name="k", tenant="acme", user="u", budgets=(BUDGET,))


@pytest.mark.parametrize(
    ("error", "taken_back"),
    [
        (LedgerUnavailable("the database was lost at the commit"), True),
        (InternalError("a bug of ours"), True),
        (QuotaSpent("spent"), False),
        (DuplicateJob("another one"), False),
        (Unauthorized("it has ended"), False),
        (UnknownKey("there is none"), False),
        (BadRequest("of another tenant"), False),
    ],
    ids=lambda one: one.code if isinstance(one, FleetError) else None,
)
async def test_whatever_is_not_refused_is_taken_back(error: FleetError, *, taken_back: bool) -> None:
    """Where the ledger can't say whether the commit came through, what it may have set aside would be charged in full, for a job
    that never ran; where it refuses there is nothing."""
    broker, asked = MemoryBroker(), list[str]()
    async with connect_memory(broker) as theirs, connect_memory(broker) as ours, asyncio.TaskGroup() as tasks:

        def answer(delivery: Delivery) -> None:
            verb = delivery.subject.rpartition(".")[2]
            asked.append(verb)
            said = {"error": error.to_wire()} if verb == "reserve" else {"released": True}
            tasks.create_task(theirs.publish(delivery.reply, codec.encode(said)))

        for verb in ("reserve", "release"):
            await theirs.subscribe(SUBJECTS.keys(verb), answer)
        gate = Gate(Rules(tenant="acme"), ours, SUBJECTS, LoopClock(), lambda: Fleet({}))
        with pytest.raises(type(error)):
            async with gate.job(granted(GRANT), ChatRequest(prompt="hi", model="m", job="j1")):
                pass

    assert ["reserve", "release"][: 1 + taken_back] == asked
