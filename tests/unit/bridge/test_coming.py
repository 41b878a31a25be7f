"""What the gate counts of a key that may not ask as often as it likes: what it asks, and apart from that how often it comes."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from common.bus.memory import MemoryBroker, connect_memory
from common.errors import TooMany
from common.keys import Grant
from common.subjects import Subjects
from dispatcher.bridge.callers import granted
from dispatcher.bridge.gate.gate import Gate, Rules
from dispatcher.fleet import Fleet
from tests.answers import HandClock

GRANT = Grant(key="abcdefgh", name="k", tenant="acme", user="u", requests_per_minute=1)


async def test_who_reads_without_end_is_refused_in_the_end() -> None:
    """So no key floods a bridge; what it may ask stays as it was, and its answers say so."""
    http = Request({"type": "http"})
    async with connect_memory(MemoryBroker()) as bus:
        gate = Gate(Rules(tenant="acme"), bus, Subjects(), HandClock(), lambda: Fleet({}))
        for _ in range(600):
            gate.count(http, GRANT, None)
        with pytest.raises(TooMany, match="also of those that only read"):
            gate.count(http, GRANT, None)
        before = http.state.standing()["requests"].remaining
        gate.count_asked(granted(GRANT))
        after = http.state.standing()["requests"].remaining

    assert (1, 0) == (before, after)
