"""What is to be kept of a chat while no ledger can: tried again, bounded, and never said to be kept before it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from common.bus.memory import MemoryBroker, connect_memory
from common.clock import LoopClock
from common.conversation_client import Conversations
from common.conversations import Conversation, Owner, Turn
from common.errors import ConversationConflict, FleetError, LedgerUnavailable
from common.messages import ChatRequest, Message, Role
from common.subjects import Subjects
from dispatcher.bridge import belated as module
from dispatcher.bridge import keeping
from dispatcher.bridge.belated import Belated, Parcel, belated
from dispatcher.bridge.gate import Gate
from dispatcher.bridge.gate.gate import Rules
from dispatcher.bridge.keeping import Keeping, Said, asked_turns
from dispatcher.bridge.native.conversations import conversation_routes
from dispatcher.bridge.sse import Curfew
from dispatcher.bridge.threads import Thread
from dispatcher.fleet import Fleet

ANNA = Owner(tenant="home", user="anna")
HANG_S = 30.0
NEVER_S = 3600.0
NOTE = {"messages": [{"role": "user", "content": "a note"}]}


class Ledger(Conversations):
    """A client of a ledger that fails as it is told to, and then keeps."""

    failures: list[FleetError]
    deaf: int
    """So many questions are never answered."""
    asked: int
    kept: list[tuple[str, ...]]

    async def append(self, owner: Owner, conversation: str, turns: Sequence[Turn], **_: Any) -> Conversation:
        self.asked += 1
        if self.asked <= self.deaf:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.kept.append(tuple(turn.id for turn in turns))
        return Conversation(id=conversation)


@asynccontextmanager
async def ledger(*failures: FleetError) -> AsyncIterator[Ledger]:
    async with connect_memory(MemoryBroker()) as bus, asyncio.timeout(HANG_S):
        found = Ledger(bus, Subjects())
        found.failures, found.deaf, found.asked, found.kept = list(failures), 0, 0, []
        yield found


def parcel(name: str = "t1", text: str = "hi", owner: Owner = ANNA) -> Parcel:
    turn = Turn(id=name, message=Message(role=Role.ASSISTANT, content=text))
    return Parcel(owner=owner, conversation="c1", turns=(turn,))


async def emptied(held: Belated) -> None:
    while len(held):  # noqa: ASYNC110  # what it lets go raises no event
        await asyncio.sleep(0.001)


async def keep(there: Ledger, held: Belated, *, away_s: float = HANG_S) -> dict[str, Any]:
    """Keep a chat of one question, as its answer's end does."""
    question = Message(role=Role.USER, content="Why?")
    chat = ChatRequest(messages=(question,), job="j1")
    keeper = Keeping(conversations=there, files=cast("Any", None), belated=held, away_s=away_s)
    return await keeper.keep(chat, Thread(id="c1", owner=ANNA), asked_turns(chat, (), (question,)), Said(text=["So."]))


async def test_a_ledger_that_is_back_before_the_end_has_kept_it() -> None:
    """Nothing is held then."""
    async with ledger(LedgerUnavailable("away"), LedgerUnavailable("away")) as there, belated(there) as held:
        said = await keep(there, held)

        assert (True, 3, 1, 0) == (said["kept"], there.asked, len(there.kept), len(held))


async def test_what_a_dying_ledger_swallowed_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It went into the socket of a process that was killed just then: no answer comes, and no word that nobody is there."""
    monkeypatch.setattr(keeping, "TRY_S", 0.01)
    async with ledger() as there, belated(there) as held:
        there.deaf = 2
        said = await keep(there, held)

        assert (True, 3, 1) == (said["kept"], there.asked, len(there.kept))


async def test_a_ledger_that_hangs_is_waited_for_so_long_and_then_it_is_kept_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waits for the end of the answer is let go."""
    monkeypatch.setattr(keeping, "KEEP_S", 0.05)
    async with ledger() as there, belated(there, hold_s=NEVER_S, pause_s=0.001) as held:
        there.deaf = 1
        said = await keep(there, held)
        await emptied(held)

        assert (False, True, "ledger", 1) == (said["kept"], said["later"], said["why"], len(there.kept))


async def test_what_is_held_is_tried_until_it_is_kept_and_then_let_go() -> None:
    """It is kept once, with its question; meanwhile nobody is told that it is."""
    away = [LedgerUnavailable("away") for _ in range(5)]
    async with ledger(*away) as there, belated(there, hold_s=NEVER_S, pause_s=0.001) as held:
        said = await keep(there, held, away_s=-1.0)
        await emptied(held)

        assert (False, True, "ledger") == (said["kept"], said["later"], said["why"])
        assert [said["turn"]] == [names[-1] for names in there.kept]


async def test_what_a_ledger_refuses_is_not_tried_again() -> None:
    """It would refuse it for ever, and nobody is promised anything."""
    async with ledger(ConversationConflict("no")) as there, belated(there) as held:
        said = await keep(there, held)

        assert ({"kept": False, "why": "conversation_conflict"}, 1, 0) == (said, there.asked, len(held))


async def test_what_is_refused_later_is_let_go() -> None:
    """As when the conversation was deleted meanwhile."""
    async with ledger(ConversationConflict("no")) as there, belated(there, hold_s=NEVER_S, pause_s=0.001) as held:
        held.take(parcel())
        await emptied(held)

        assert (1, []) == (there.asked, there.kept)


async def test_what_nobody_keeps_is_let_go_in_the_end() -> None:
    """A ledger that stays away costs no memory for ever."""
    away = [LedgerUnavailable("away")] * 10_000
    async with ledger(*away) as there, belated(there, hold_s=0.05, pause_s=0.001) as held:
        taken = held.take(parcel())
        await emptied(held)

        assert (True, []) == (taken, there.kept)


async def test_who_reads_a_conversation_has_it_settled_first() -> None:
    """While that can't be, the reader is told so; afterwards nothing is kept twice."""
    async with ledger(LedgerUnavailable("away")) as there, belated(there, hold_s=NEVER_S, pause_s=NEVER_S) as held:
        held.take(parcel())
        await held.settle(ANNA, "another")
        with pytest.raises(LedgerUnavailable):
            await held.settle(ANNA, "c1")
        await asyncio.gather(held.settle(ANNA, "c1"), held.settle(ANNA, "c1"))

        assert ([("t1",)], 2) == (there.kept, there.asked)


@pytest.mark.parametrize(
    ("path", "said"),
    [("", None), ("/export", None), ("/branch", {"turn": "t1"}), ("/select", {"turn": "t1"}), ("/turns", NOTE)],
)
async def test_whoever_opens_a_conversation_finds_what_waited_in_it(path: str, said: dict[str, Any] | None) -> None:
    """To read it, or to go on with it: the ledger has kept it before it is asked."""
    app = FastAPI()
    async with ledger() as there, belated(there, hold_s=NEVER_S, pause_s=NEVER_S) as held:
        gate = Gate(Rules(tenant="home", off=True), there._bus, Subjects(), LoopClock(), Fleet)
        keeping = SimpleNamespace(keeping=SimpleNamespace(belated=held))
        bridge = SimpleNamespace(gate=gate, conversations=there, remembering=keeping, curfew=Curfew())
        app.include_router(conversation_routes(cast("Any", bridge)))
        held.take(parcel(owner=Owner(tenant="home")))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # nobody answers what is asked behind it
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            await http.request("POST" if said else "GET", f"/api/v1/conversations/c1{path}", json=said)

        assert ("t1",) == there.kept[0]


async def test_so_much_is_held_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, and by bytes."""
    monkeypatch.setattr(module, "MOST", 2)
    monkeypatch.setattr(module, "MOST_BYTES", 2000)
    async with ledger() as there, belated(there, pause_s=NEVER_S, hold_s=NEVER_S) as held:
        nobody = Owner(tenant="home")
        came = [("t1", "hi"), ("t2", "x" * 2000), ("t2", "hi"), ("t3", "hi")]
        found = [held.take(parcel(*one, owner=nobody)) for one in came]

        assert [True, False, True, False] == found


async def test_no_user_has_more_than_half_of_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, and by bytes: one whose answers are long leaves room for those of the others."""
    monkeypatch.setattr(module, "MOST", 4)
    monkeypatch.setattr(module, "MOST_BYTES", 4000)
    long, ben = "x" * 2000, Owner(tenant="home", user="ben")
    async with ledger() as there, belated(there, pause_s=NEVER_S, hold_s=NEVER_S) as held:
        hers = [
            held.take(parcel(name, text)) for name, text in (("t1", "hi"), ("t2", long), ("t2", "hi"), ("t3", "hi"))
        ]
        his = [held.take(parcel(name, owner=ben)) for name in ("t4", "t5", "t6")]

        assert ([True, False, True, False], [True, True, False]) == (hers, his)


async def test_a_bridge_that_ends_takes_nothing_any_more() -> None:
    """Who asks that late is told that it is not kept."""
    async with ledger() as there:
        async with belated(there) as held:
            pass

        assert held.take(parcel()) is False
