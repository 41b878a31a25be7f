"""Conversations over a ledger that is killed and started again: what was acknowledged is there, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from common.bus import Bus
from common.bus.nats import NatsOptions, connect_nats
from common.conversation_client import Conversations
from common.conversations import Conversation, Turn
from common.errors import LedgerUnavailable
from tests.integration.ledger.builders import SUBJECTS
from tests.integration.ledger.ledgers import ledger_process, until
from tests.integration.ledger.talks import ANNA, asked
from tests.nats_server import nats_server

WRITERS = 4


async def test_a_ledger_that_is_killed_forgets_no_turn_that_it_has_acknowledged(tmp_path: Path) -> None:
    """Killed with -9 while several append: each turn that was acknowledged is there after a restart, in its branch; what was not
    may be there, and asked for again it is there once."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with nats_server(jetstream=True) as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        ask = Conversations(bus, SUBJECTS, timeout_s=5.0)
        told = dict[str, list[Turn]]()
        async with ledger_process(server.url, url, tmp_path) as ledger:
            await until(_answers(bus))
            names = [(await ask.create(ANNA, title=f"{number}")).id for number in range(WRITERS)]
            told = {name: [] for name in names}
            async with asyncio.TaskGroup() as tasks:
                for name in names:
                    tasks.create_task(_append(ask, name, told[name]))
                await until(_many(told))
                await ledger.kill()
        acknowledged = {name: turns[:-1] for name, turns in told.items()}
        async with ledger_process(server.url, url, tmp_path) as ledger:
            await until(_answers(bus))
            found = {name: (await ask.history(ANNA, name)).turns for name in names}
            for name in names:
                await ask.append(ANNA, name, told[name][-1:])
            after = {name: (await ask.history(ANNA, name)).turns for name in names}
            status = await ledger.stop()

    ids = {name: [turn.id for turn in turns] for name, turns in acknowledged.items()}
    assert ids == {name: [turn.id for turn in turns[: len(ids[name])]] for name, turns in found.items()}
    assert {name: [turn.id for turn in turns] for name, turns in told.items()} == {
        name: [turn.id for turn in turns] for name, turns in after.items()
    }
    assert 0 == status


async def _append(ask: Conversations, name: str, turns: list[Turn]) -> None:
    """Append one turn behind the other until the ledger is gone: the last one was not acknowledged."""
    try:
        while True:
            turns.append(asked(f"t{len(turns)}", "word " * 50, turns[-1].id if turns else None))
            now: Conversation = await ask.append(ANNA, name, turns[-1:])
            assert now.head == turns[-1].id
    except LedgerUnavailable:
        pass  # it was killed, which this waits for


def _many(told: dict[str, list[Turn]]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return all(len(turns) > 5 for turns in told.values())

    return holds


def _answers(bus: Bus) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        try:
            await Conversations(bus, SUBJECTS).listed(ANNA)
        except LedgerUnavailable:
            return False
        return True

    return holds
