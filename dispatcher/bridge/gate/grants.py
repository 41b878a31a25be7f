"""What keys are for, as the ledger says it, remembered for a while; what has changed is asked for anew."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from common import key_client
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import BusError, FleetError, LedgerUnavailable, TooMany, Unauthorized, from_wire
from common.keys import Grant, Presented
from common.logs import get_logger
from common.subjects import Subjects

log = get_logger("gate")

T = TypeVar("T")

REMEMBER_S = 30.0
"""A change is told at once; this is for one that was not heard."""

LAST_S = 900.0
"""So long a key that was good stays so while no ledger can be asked."""

REFUSE_S = 5.0
"""Who shows a wrong key again and again asks the ledger so seldom."""

AWAY_S = 5.0
"""So long a ledger that did not answer is not asked about keys that were good: each request would wait for it."""

SOON_S = 2.0
"""Who wants to know what is left now waits so long for the ledger, and is then told what was."""

MOST = 10_000
"""Of good keys, and of wrong ones: those that strangers make up push out none that is good."""

MOST_STRANGERS = 64
"""Keys that nobody knows, asked for at once; a ledger has jobs to let in as well."""


@dataclass(slots=True)
class _Good:
    """What a key was for at that time. `keys` are those on which that hangs: of a session, its own and its parent's."""

    keys: frozenset[str]
    grant: Grant
    at_s: float


@dataclass(frozen=True, slots=True)
class AsOf:
    """What a key was for, and what was left to it, at a time."""

    grant: Grant
    unix_s: float


@dataclass(frozen=True, slots=True)
class _Wrong:
    why: Unauthorized
    at_s: float


@contextmanager
def nameless() -> Iterator[None]:
    """Say that the ledger can't be asked without the servers and subjects that errors of the bus name: who shows a key may be
    anybody. Raises `LedgerUnavailable` in their place."""
    try:
        yield
    except BusError as error:
        raise LedgerUnavailable(
            "nobody can say now whether this key is good, since the ledger does not answer: try again in a moment",
            retry_after_s=1.0,
        ) from error


class Grants:
    """Asks the ledger. Open it with `remembering`."""

    def __init__(self, bus: Bus, subjects: Subjects, clock: Clock) -> None:
        self._bus = bus
        self._subjects = subjects
        self._clock = clock
        self._good: OrderedDict[str, _Good] = OrderedDict()
        self._wrong: OrderedDict[str, _Wrong] = OrderedDict()
        self._questions: dict[tuple[str, int], asyncio.Future[Grant | FleetError | None]] = {}
        self._strangers = 0
        self._changes = 0
        self._listeners: list[Callable[[str], None]] = []
        self._away_until_s: float | None = None
        self._any: bool | None = None
        self._none_s = self._open_until_s = 0.0

    @property
    def in_use(self) -> bool | None:
        """Whether there is any key; None while nobody has said, or that there is none so long ago that the word of the first one
        may have been lost."""
        return None if self._any is False and self._clock.monotonic() > self._open_until_s else self._any

    @asynccontextmanager
    async def remembering(self) -> AsyncIterator[None]:
        """Hear of changes, for the life of the context."""
        changes = await self._bus.subscribe(self._subjects.key_event("*"), self._changed)
        forget = self._bus.on_disconnect(self._lost)
        try:
            yield
        finally:
            forget()
            await changes.unsubscribe()

    def on_change(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener` with the id of each key that has changed, after what was known of it is forgotten; what this gives ends
        that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def remembers(self, shown: Presented) -> bool:
        """Tell whether a key is known to be good, and nothing was heard of it since."""
        return shown.key_digest in self._good

    async def find_out(self) -> None:
        """Ask whether there is any key. Raises `LedgerUnavailable`, `BusTimeout` and `BusDisconnected`, but where there was none a
        while ago and nothing was lost since: who makes one asks the same ledger."""
        before, now_s = self._changes, self._clock.monotonic()
        try:
            found = await key_client.state(self._bus, self._subjects) > 0
        except (LedgerUnavailable, BusError):
            if self._any is not False or now_s - self._none_s > LAST_S:
                raise
            self._open_until_s = self._clock.monotonic() + AWAY_S
            return
        if found:
            self._any = True
        elif before == self._changes:
            self._any, self._none_s, self._open_until_s = False, now_s, now_s + REMEMBER_S

    async def grant(self, shown: Presented) -> Grant:
        """Give what a key is for. Raises `Unauthorized`, `LedgerUnavailable` for one that is not remembered while no ledger
        answers, and `TooMany` where too many strangers ask."""
        with nameless():
            found = await self._found(shown)
        return self._lasting(found)

    async def end(self, session: Presented) -> None:
        """End a session; one that is none any more has ended. Raises `LedgerUnavailable`, and `TooMany` where too many strangers
        ask: whoever makes one up is asked for like any other key."""
        with nameless(), nullcontext() if self.remembers(session) else self._stranger():
            await key_client.logout(self._bus, self._subjects, session)

    async def again(self, shown: Presented) -> Grant:
        """Give what a key is for now, whatever is remembered of it. Raises as `grant`, and `BusError`."""
        return self._lasting(await self._asked(shown))

    def asked_s(self, shown: Presented) -> float | None:
        """Tell when the ledger was asked for what is remembered of a key; None where nothing is."""
        good = self._good.get(shown.key_digest)
        return None if good is None else good.at_s

    async def now(self, shown: Presented) -> AsOf:
        """Give what a key is for, and what is left to it, now; where no ledger says so soon, as it was. Raises `Unauthorized`, and
        `LedgerUnavailable` where nothing is remembered."""
        began_unix_s = self._clock.unix_s()
        try:
            async with asyncio.timeout(SOON_S):
                return AsOf(await self.again(shown), began_unix_s)
        except (TimeoutError, LedgerUnavailable, BusError) as error:
            good = self._good.get(shown.key_digest)
            if good is None:
                raise LedgerUnavailable(
                    "no ledger says what this key has left: try again", retry_after_s=1.0
                ) from error
            return AsOf(self._lasting(good.grant), self._clock.unix_s() - (self._clock.monotonic() - good.at_s))

    def _lasting(self, grant: Grant) -> Grant:
        ends = grant.expires_unix_s
        if ends is not None and ends <= self._clock.unix_s():
            raise Unauthorized(f"the key {grant.name!r} has expired: `drover keys change` gives it longer")
        return grant

    async def _found(self, shown: Presented) -> Grant:
        """1. What was wrong a moment ago is so still. 2. What was good is asked again after a while. 3. A ledger that has just not
        answered is not waited for again, by one at most: meanwhile a key stays good. 4. Strangers are asked for, a few at once."""
        now_s = self._clock.monotonic()
        wrong, good = self._wrong.get(shown.key_digest), self._good.get(shown.key_digest)
        if wrong is not None and now_s - wrong.at_s <= REFUSE_S:  # 1
            raise Unauthorized(wrong.why.message)
        if good is None:  # 4
            return await self._together(shown, stranger=True)
        if now_s - good.at_s <= REMEMBER_S:  # 2
            return good.grant
        lasts = now_s - good.at_s <= LAST_S
        if lasts and self._away_until_s is not None:  # 3
            if now_s < self._away_until_s:
                return good.grant
            self._away_until_s = now_s + key_client.ASK_S  # this one asks
        before = self._changes
        try:
            return await self._together(shown)
        except (LedgerUnavailable, BusError) as error:
            if not lasts or before != self._changes:
                raise
            log.warning("gate.unasked", key=shown.id, error=error.code)
            return good.grant

    async def _together(self, shown: Presented, *, stranger: bool = False) -> Grant:
        """Ask once for all who show the same key while the answer is under way: the first hundred requests of a program are no
        hundred strangers. Who comes behind a change waits for no answer of before. If who asks is cancelled, the next one asks."""
        name = (shown.key_digest, self._changes)
        while (asked := self._questions.get(name)) is not None:
            told = await asyncio.shield(asked)
            if isinstance(told, Grant):
                return told
            if told is not None:
                raise from_wire(told.to_wire())
        asked = self._questions[name] = asyncio.get_running_loop().create_future()
        found: Grant | FleetError | None = None
        try:
            with self._stranger() if stranger else nullcontext():
                found = await self._asked(shown)
        except FleetError as error:
            found = error
            raise
        else:
            return found
        finally:
            del self._questions[name]
            asked.set_result(found)

    @contextmanager
    def _stranger(self) -> Iterator[None]:
        if self._strangers >= MOST_STRANGERS:
            raise TooMany("too many keys that nobody here knows are asked for at once: try again", retry_after_s=1.0)
        self._strangers += 1
        try:
            yield
        finally:
            self._strangers -= 1

    async def _asked(self, shown: Presented) -> Grant:
        """Ask the ledger, and remember what it says, unless something has changed since it was asked: then its answer may be of
        before."""
        before, now_s = self._changes, self._clock.monotonic()
        try:
            grant = await key_client.check(self._bus, self._subjects, shown)
        except Unauthorized as error:
            self._away_until_s = None
            self._good.pop(shown.key_digest, None)
            if before == self._changes:
                _keep(self._wrong, shown.key_digest, _Wrong(error, now_s))
            raise
        except (LedgerUnavailable, BusError):
            self._away_until_s = self._clock.monotonic() + AWAY_S
            raise
        self._away_until_s, self._any = None, True
        self._wrong.pop(shown.key_digest, None)
        if before == self._changes:
            _keep(self._good, shown.key_digest, _Good(frozenset({shown.id, grant.key}), grant, now_s))
        return grant

    def _changed(self, delivery: Delivery) -> None:
        self._changes += 1
        key = self._subjects.tokens(delivery.subject)[-1]
        self._wrong.clear()
        for digest in [digest for digest, one in self._good.items() if key in one.keys]:
            del self._good[digest]
        self._any = None if self._any is None else True
        for listener in tuple(self._listeners):
            listener(key)

    def _lost(self) -> None:
        """The word of the first key may be lost with the connection, and what is being asked may be of before."""
        self._changes += 1
        self._any = self._any or None


def _keep(some: OrderedDict[str, T], digest: str, one: T) -> None:
    some[digest] = one
    some.move_to_end(digest)
    if len(some) > MOST:
        some.popitem(last=False)
