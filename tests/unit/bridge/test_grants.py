"""What a bridge remembers of keys, with a ledger whose answers are written here, on a bus in memory and by a clock in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from common import codec
from common.bus import Delivery
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.errors import BusDisconnected, BusTimeout, FleetError, LedgerUnavailable, TooMany, Unauthorized
from common.keys import Budget, Grant, Presented, Unit, new_id, new_secret, parse
from common.subjects import Subjects
from dispatcher.bridge.gate import grants as module
from dispatcher.bridge.gate.grants import AWAY_S, MOST_STRANGERS, REMEMBER_S, Grants

SUBJECTS = Subjects()


class HandClock:
    """Time as a test says it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class Ledger:
    """Answers by what `good` has, when it is let; `asked` counts."""

    def __init__(self, bus: MemoryBus, tasks: asyncio.TaskGroup) -> None:
        self.good: dict[str, Grant] = {}
        self.keys = 0
        self.asked = 0
        self.error: FleetError | None = None
        self.heard, self.crowd = asyncio.Event(), asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self._bus = bus
        self._tasks = tasks

    def hear(self, delivery: Delivery) -> None:
        self._tasks.create_task(self._answer(delivery))

    async def _answer(self, delivery: Delivery) -> None:
        self.asked += 1
        wire = codec.decode(delivery.data)
        grant, keys, error = self.good.get(str(wire.get("key"))), self.keys, self.error  # as it is when it is asked
        self.heard.set()
        if self.asked > MOST_STRANGERS:
            self.crowd.set()
        await self.go.wait()
        if error is None and "key" in wire and grant is None:
            error = Unauthorized("there is no such key here")
        said: dict[str, Any] = {"keys": keys} if grant is None else {"grant": codec.plain(grant)}
        await self._bus.publish(delivery.reply, codec.encode({"error": error.to_wire()} if error else said))

    def key(self) -> Presented:
        """Make one."""
        shown = parse(new_secret(new_id()))
        self.good[shown.id] = Grant(key=shown.id, name="k", tenant="acme", user="u")
        return shown

    async def change(self, shown: Presented) -> None:
        """Tell that a key has changed."""
        await self._bus.publish(SUBJECTS.key_event(shown.id), b"{}")
        await asyncio.sleep(0)


class House:
    def __init__(self, grants: Grants, ledger: Ledger, clock: HandClock, bus: MemoryBus) -> None:
        self.grants, self.ledger, self.clock, self.bus = grants, ledger, clock, bus


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    clock, broker = HandClock(), MemoryBroker()
    async with connect_memory(broker) as theirs, connect_memory(broker) as ours, asyncio.TaskGroup() as tasks:
        ledger = Ledger(theirs, tasks)
        for verb in ("check", "logout", "state"):
            await theirs.subscribe(SUBJECTS.keys(verb), ledger.hear)
        grants = Grants(ours, SUBJECTS, clock)
        async with grants.remembering():
            yield House(grants, ledger, clock, ours)


async def refused(ask: Callable[[], Awaitable[object]]) -> type[FleetError]:
    """Say with what something is refused."""
    with pytest.raises(FleetError) as error:
        await ask()
    return type(error.value)


async def test_a_first_key_is_found_out_whoever_misses_its_word() -> None:
    """The door that was open since there was none asks again, after a while and after each loss of the connection."""
    async with house() as h:
        await h.grants.find_out()
        seen = [h.grants.in_use]
        h.clock.now_s += REMEMBER_S + 1
        seen.append(h.grants.in_use)
        await h.grants.find_out()
        seen.append(h.grants.in_use)
        h.bus.disconnect()
        h.bus.reconnect()
        seen.append(h.grants.in_use)
        h.ledger.keys = 1
        await h.grants.find_out()
        h.clock.now_s += 10 * REMEMBER_S
        seen.append(h.grants.in_use)

    assert [False, None, False, None, True] == seen


async def test_without_keys_a_ledger_that_is_away_shuts_nobody_out_unless_the_bus_was_lost() -> None:
    """Who makes the first key asks the ledger as well; but behind a lost connection its word may lie."""
    async with house() as h:
        await h.grants.find_out()
        h.ledger.error = LedgerUnavailable("no ledger answers")
        h.clock.now_s += REMEMBER_S + 1
        await h.grants.find_out()
        away = h.grants.in_use
        h.bus.disconnect()
        h.bus.reconnect()
        lost = await refused(h.grants.find_out)

    assert (False, LedgerUnavailable) == (away, lost)


async def test_an_answer_that_is_older_than_a_change_is_not_remembered() -> None:
    """A key that is revoked while it is checked is good for that request, and for no later one."""
    async with house() as h, asyncio.TaskGroup() as tasks:
        shown = h.ledger.key()
        h.ledger.go.clear()
        under_way = tasks.create_task(h.grants.grant(shown))
        await h.ledger.heard.wait()
        h.ledger.good.clear()
        await h.ledger.change(shown)
        h.ledger.go.set()
        await under_way
        after = await refused(lambda: h.grants.grant(shown))

    assert after is Unauthorized


async def test_that_there_are_none_is_not_believed_behind_the_word_of_one() -> None:
    """The answer was on its way when the first key was made."""
    async with house() as h, asyncio.TaskGroup() as tasks:
        await h.grants.find_out()
        h.ledger.heard.clear()
        h.ledger.go.clear()
        asking = tasks.create_task(h.grants.find_out())
        await h.ledger.heard.wait()
        await h.ledger.change(h.ledger.key())
        h.ledger.go.set()
        await asking
        known = h.grants.in_use

    assert known is True


def left(limit: int, spent: int) -> tuple[Budget, ...]:
    return (Budget(unit=Unit.TOKENS, limit=limit, spent=spent),)


async def test_what_is_left_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the key is remembered: what jobs have used since is no change that is told."""
    monkeypatch.setattr(module, "SOON_S", 60.0)
    async with house() as h:
        shown = h.ledger.key()
        await h.grants.grant(shown)
        h.ledger.good[shown.id] = replace(h.ledger.good[shown.id], budgets=left(1000, 900))
        h.clock.now_s += 7.0
        remembered = await h.grants.grant(shown)
        now = await h.grants.now(shown)

    assert ((), 900, 1007.0) == (remembered.budgets, now.grant.budgets[0].spent, now.unix_s)


async def test_what_was_left_is_told_with_its_time_where_no_ledger_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it says that it can't, or nothing at all; what nobody remembers is not made up."""
    monkeypatch.setattr(module, "SOON_S", 0.01)
    async with house() as h:
        shown = h.ledger.key()
        h.ledger.good[shown.id] = replace(h.ledger.good[shown.id], budgets=left(1000, 900))
        await h.grants.grant(shown)
        h.clock.now_s += 7.0
        h.ledger.go.clear()
        hangs = await h.grants.now(shown)
        h.ledger.go.set()
        h.ledger.error = LedgerUnavailable("its database is away")
        says = await h.grants.now(shown)
        unknown = await refused(lambda: h.grants.now(h.ledger.key()))

    assert [(900, 1000.0)] * 2 == [(one.grant.budgets[0].spent, one.unix_s) for one in (hangs, says)]
    assert unknown is LedgerUnavailable


async def test_a_ledger_that_hangs_is_waited_for_once() -> None:
    """By one request; others go on with what was good, until that time is over and one asks again."""
    async with house() as h:
        shown = h.ledger.key()
        await h.grants.grant(shown)
        h.ledger.error = LedgerUnavailable("it hangs")
        counts = []
        for wait_s in (REMEMBER_S + 1, 1.0, 1.0, AWAY_S):
            h.clock.now_s += wait_s
            assert shown.id == (await h.grants.grant(shown)).key
            counts.append(h.ledger.asked)
        h.ledger.error, h.ledger.good = None, {}
        h.clock.now_s += AWAY_S + 1
        after = await refused(lambda: h.grants.grant(shown))

    assert ([2, 2, 2, 3], Unauthorized) == (counts, after)


@pytest.mark.parametrize(
    "error",
    [
        BusTimeout("no reply on 'llm.v1.keys.check' within 10 s"),
        BusDisconnected("the connection to nats://10.0.0.7:4222 is lost"),
    ],
)
async def test_strangers_learn_no_server_and_no_subject(error: FleetError) -> None:
    """What the bus says of its trouble is for the log, and for who was let in."""
    async with house() as h:
        h.ledger.error = error
        with pytest.raises(LedgerUnavailable) as refusal:
            await h.grants.grant(h.ledger.key())

    assert (False, False) == ("llm." in refusal.value.message, "//" in refusal.value.message)


async def test_while_one_asks_a_ledger_that_was_away_others_go_on() -> None:
    """It may hang still."""
    async with house() as h, asyncio.TaskGroup() as tasks:
        shown = h.ledger.key()
        await h.grants.grant(shown)
        h.ledger.error = LedgerUnavailable("it hangs")
        h.clock.now_s += REMEMBER_S + 1
        await h.grants.grant(shown)
        h.clock.now_s += AWAY_S + 1
        h.ledger.heard.clear()
        h.ledger.go.clear()
        one = tasks.create_task(h.grants.grant(shown))
        await h.ledger.heard.wait()
        others = [(await h.grants.grant(shown)).key for _ in range(3)]
        h.ledger.go.set()
        await one

    assert ([shown.id] * 3, 3) == (others, h.ledger.asked)


async def test_strangers_are_few_at_once() -> None:
    """One too many is told to come again, and nobody asks for him; a good key comes in meanwhile."""
    async with house() as h, asyncio.TaskGroup() as tasks:
        good = h.ledger.key()
        await h.grants.grant(good)
        h.ledger.go.clear()
        made_up = [parse(new_secret(new_id())) for _ in range(MOST_STRANGERS + 1)]
        waiting = [tasks.create_task(refused(partial(h.grants.grant, one))) for one in made_up[:-1]]
        await h.ledger.crowd.wait()
        told = await refused(lambda: h.grants.grant(made_up[-1]))
        known = (await h.grants.grant(good)).key
        h.ledger.go.set()

    assert (TooMany, good.id, {Unauthorized}) == (told, known, {one.result() for one in waiting})


async def test_all_that_come_with_a_new_key_at_once_are_one_stranger() -> None:
    """The ledger is asked once for a good one, and once for one that nobody made; the one who asked may hang up meanwhile."""
    async with house() as h, asyncio.TaskGroup() as tasks:
        good, wrong = h.ledger.key(), parse(new_secret(new_id()))
        h.ledger.go.clear()
        come = [tasks.create_task(h.grants.grant(good)) for _ in range(2 * MOST_STRANGERS)]
        refusals = [tasks.create_task(refused(partial(h.grants.grant, wrong))) for _ in range(2 * MOST_STRANGERS)]
        while h.ledger.asked < 2:  # noqa: ASYNC110  # a count raises no event
            await asyncio.sleep(0)
        come[0].cancel()
        while h.ledger.asked < 3:  # noqa: ASYNC110  # as above: the next one asks in its place
            await asyncio.sleep(0)
        h.ledger.go.set()

    assert come[0].cancelled()
    assert ({good.id}, {Unauthorized}) == ({one.result().key for one in come[1:]}, {one.result() for one in refusals})
    assert h.ledger.asked == 3


async def test_who_comes_behind_a_change_waits_for_no_answer_of_before() -> None:
    """A key that is revoked while somebody asks for it is good for that one, and for nobody who comes later."""
    async with house() as h, asyncio.TaskGroup() as tasks:
        shown = h.ledger.key()
        h.ledger.go.clear()
        early = tasks.create_task(h.grants.grant(shown))
        await h.ledger.heard.wait()
        del h.ledger.good[shown.id]
        await h.ledger.change(shown)
        late = tasks.create_task(refused(partial(h.grants.grant, shown)))
        while h.ledger.asked < 2:  # noqa: ASYNC110  # a count raises no event
            await asyncio.sleep(0)
        h.ledger.go.set()

    assert (shown.id, Unauthorized) == (early.result().key, late.result())


async def test_strangers_that_end_made_up_sessions_are_few_at_once() -> None:
    """They are counted with those that ask; who is known ends its own meanwhile."""
    async with house() as h, asyncio.TaskGroup() as tasks:
        good = h.ledger.key()
        await h.grants.grant(good)
        h.ledger.go.clear()
        made_up = [parse(new_secret(new_id(), session=True)) for _ in range(MOST_STRANGERS + 1)]
        waiting = [tasks.create_task(refused(partial(h.grants.end, one))) for one in made_up[:-1]]
        await h.ledger.crowd.wait()
        told = await refused(lambda: h.grants.end(made_up[-1]))
        asked = h.ledger.asked
        mine = tasks.create_task(h.grants.end(good))
        while h.ledger.asked == asked:  # noqa: ASYNC110  # a count raises no event
            await asyncio.sleep(0)
        h.ledger.go.set()
        await mine

    assert (TooMany, MOST_STRANGERS + 1, {Unauthorized}) == (told, asked, {one.result() for one in waiting})


async def test_wrong_keys_push_out_no_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a stranger makes up; and each is asked for once in a while only."""
    monkeypatch.setattr(module, "MOST", 4)
    async with house() as h:
        good = h.ledger.key()
        await h.grants.grant(good)
        wrong = parse(new_secret(new_id()))
        for one in (*(parse(new_secret(new_id())) for _ in range(9)), wrong, wrong):
            assert await refused(partial(h.grants.grant, one)) is Unauthorized
        asked = h.ledger.asked
        await h.grants.grant(good)

    assert (11, 11) == (asked, h.ledger.asked)
