"""What ends an answer whose key is gone: never a doubt, and never the word of another key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest

from common.errors import LedgerUnavailable, Unauthorized
from common.keys import Presented
from dispatcher.bridge.callers import Caller, granted
from dispatcher.bridge.gate import recalls as module
from dispatcher.bridge.gate.recalls import Recalls
from dispatcher.bridge.native.downloads import Download
from dispatcher.bridge.sse import Curfew
from tests.unit.bridge.test_grants import House, house

HANG_S = 60.0


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[House, Recalls]]:
    async with house() as h:
        recalls = Recalls(h.grants)
        async with recalls.watching():
            yield h, recalls


async def let_in(h: House, shown: Presented) -> Caller:
    return granted(await h.grants.grant(shown), shown)


async def ended(recalls: Recalls, caller: Caller, begun: asyncio.Event) -> str:
    """Run an answer until it is ended, and say why."""
    try:
        async with asyncio.timeout(HANG_S), asyncio.timeout(None) as scope:
            with recalls.bind(caller, scope) as recall:
                begun.set()
                await asyncio.Event().wait()
    except TimeoutError:
        pass
    assert isinstance(recall.why, Unauthorized)
    return recall.why.message


async def test_a_key_that_is_gone_ends_what_runs() -> None:
    """Each of its answers, and no other's."""
    async with watched() as (h, recalls), asyncio.TaskGroup() as tasks:
        one, other = h.ledger.key(), h.ledger.key()
        mine, theirs = await let_in(h, one), await let_in(h, other)
        begun = [asyncio.Event(), asyncio.Event()]
        answers = [tasks.create_task(ended(recalls, mine, event)) for event in begun]
        async with asyncio.timeout(None) as scope:
            with recalls.bind(theirs, scope) as untouched:
                for event in begun:
                    await event.wait()
                del h.ledger.good[one.id]
                await h.ledger.change(one)
                said = [await answer for answer in answers]

    assert ["there is no such key here" in one for one in said] == [True, True]
    assert (untouched.why, scope.expired()) == (None, False)


async def test_a_key_that_has_changed_and_is_good_ends_nothing() -> None:
    """The ledger is asked, and its word counts."""
    async with watched() as (h, recalls):
        shown = h.ledger.key()
        caller = await let_in(h, shown)
        async with asyncio.timeout(None) as scope:
            with recalls.bind(caller, scope) as recall:
                h.ledger.heard.clear()
                await h.ledger.change(shown)
                async with asyncio.timeout(HANG_S):
                    await h.ledger.heard.wait()
                await h.grants.grant(shown)

    assert (recall.why, scope.expired()) == (None, False)


async def test_a_ledger_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is cut off for a doubt; and nobody goes on for one."""
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    async with watched() as (h, recalls), asyncio.TaskGroup() as tasks:
        shown = h.ledger.key()
        caller, begun = await let_in(h, shown), asyncio.Event()
        answer = tasks.create_task(ended(recalls, caller, begun))
        await begun.wait()
        h.ledger.error = LedgerUnavailable("it starts")
        del h.ledger.good[shown.id]
        h.ledger.heard.clear()
        await h.ledger.change(shown)
        async with asyncio.timeout(HANG_S):
            await h.ledger.heard.wait()
        early = answer.done()
        h.ledger.error = None
        said = await answer

    assert (early, "no longer good" in said) == (False, True)


async def test_a_change_that_came_before_the_answer_began_is_not_missed() -> None:
    """A body may take its time behind the look at its key."""
    async with watched() as (h, recalls):
        shown = h.ledger.key()
        caller = await let_in(h, shown)
        del h.ledger.good[shown.id]
        await h.ledger.change(shown)
        said = await ended(recalls, caller, asyncio.Event())

    assert "no longer good" in said


async def test_a_file_that_is_read_ends_with_its_key() -> None:
    """It has no end then, as its reader sees."""
    async with watched() as (h, recalls), asyncio.timeout(HANG_S):
        shown, begun, sent = h.ledger.key(), asyncio.Event(), list[Any]()
        caller = await let_in(h, shown)

        async def written() -> AsyncGenerator[bytes, None]:
            yield b"begin"
            begun.set()
            await asyncio.Event().wait()
            yield b"end"

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> None:
            await asyncio.Event().wait()

        download = Download(written(), "talk", "json", Curfew(), recalls=partial(recalls.bind, caller))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(download({"type": "http"}, cast("Any", receive), send))
            await begun.wait()
            del h.ledger.good[shown.id]
            await h.ledger.change(shown)

    assert [(b"begin", True)] == [(one["body"], one["more_body"]) for one in sent if "body" in one]
