"""Summaries in the background: a bug in one is that one's."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from common.bus.memory import MemoryBroker, connect_memory
from common.conversation_client import Conversations
from common.conversations import Owner, Turns
from common.subjects import Subjects
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.folding import folding

ANNA = Owner(tenant="home", user="anna")


class Buggy(Conversations):
    """A client that has a bug."""

    read = 0

    async def history(self, *_: Any, **__: Any) -> Turns:
        self.read += 1
        raise ZeroDivisionError


async def test_a_bug_in_a_summary_ends_no_bridge() -> None:
    """It is logged, and the same conversation may be looked at again."""
    async with connect_memory(MemoryBroker()) as bus:
        buggy = Buggy(bus, Subjects())
        async with asyncio.timeout(10), folding(cast("Asking", None), buggy) as offered:
            for wanted in (1, 2):
                while buggy.read < wanted:
                    offered.offer(Caller(tenant="home"), ANNA, "c1", "m", 4096)
                    await asyncio.sleep(0)

    assert 2 == buggy.read
