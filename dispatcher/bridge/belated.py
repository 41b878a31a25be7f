"""Turns that no ledger could keep at once: held for a minute, and tried again; it knows neither chats nor APIs.

They are held in this process alone: a bridge that ends meanwhile loses them. Each is kept once, however often it is tried,
because the ledger knows a turn by its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from common import codec
from common.conversation_client import Conversations
from common.conversations import Owner, Turn
from common.errors import BusDisconnected, BusTimeout, FleetError, LedgerUnavailable
from common.lifecycle import guarding
from common.logs import get_logger

log = get_logger("bridge")

HOLD_S = 60.0
"""`drover up` starts a ledger that keeps dying every half a minute, and it has a database to open then."""

PAUSE_S = 0.5
"""Between two tries: `drover up` starts a ledger that died once after as long."""

MOST = 256
"""Answers that are held at once; of these, and of the bytes, nobody who has a name has more than half."""

MOST_BYTES = 16 << 20
"""Of all that is held, as it travels: what the bridge may grow by while no ledger is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Turns of one conversation that belong together, each behind the one before."""

    owner: Owner
    conversation: str
    turns: tuple[Turn, ...]


@dataclass(eq=False, slots=True)
class _Held:
    parcel: Parcel
    size_bytes: int
    over: bool = False
    trying: asyncio.Lock = field(default_factory=asyncio.Lock)


def may_pass(error: FleetError | TimeoutError) -> bool:
    """Tell whether a ledger that failed so may keep the same a moment later."""
    return isinstance(error, LedgerUnavailable | BusDisconnected | BusTimeout | TimeoutError)


class Belated:
    """Holds turns, and tries. Open it with `belated`."""

    def __init__(
        self,
        conversations: Conversations,
        group: asyncio.TaskGroup,
        *,
        hold_s: float = HOLD_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._conversations = conversations
        self._spawn = guarding(group)
        self._hold_s = hold_s
        self._pause_s = pause_s
        self._held: dict[_Held, asyncio.Task[None]] = {}
        self._beside = set[asyncio.Task[None]]()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._held)

    def take(self, parcel: Parcel) -> bool:
        """Hold turns, and keep them as soon as there is a ledger. False where too much is held already: then they are lost."""
        size_bytes = len(codec.encode_request(codec.plain(parcel)))
        if self._stopped or not self._room(parcel.owner, size_bytes):
            return False
        held = _Held(parcel, size_bytes)
        task = self._held[held] = self._spawn(self._keep(held))
        task.add_done_callback(lambda _: self._held.pop(held))
        return True

    def _room(self, owner: Owner, size_bytes: int) -> bool:
        def fits(held: list[int], share: int) -> bool:
            return len(held) < MOST // share and size_bytes + sum(held) <= MOST_BYTES // share

        its = [one.size_bytes for one in self._held if one.parcel.owner == owner]
        return fits([one.size_bytes for one in self._held], 1) and (not owner.user or fits(its, 2))

    def beside(self, keeping: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what keeps something, and is given up when this ends."""
        task = self._spawn(keeping)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    async def settle(self, owner: Owner, conversation: str) -> None:
        """Keep what is held of a conversation before anybody reads it: else the next question would be told a past without the last
        answer, and those turns would come behind it as another branch. Raises `LedgerUnavailable` and `BusDisconnected`."""
        for held in [one for one in self._held if (one.parcel.owner, one.parcel.conversation) == (owner, conversation)]:
            await self._once(held)

    def stop(self) -> None:
        """Give up what is held, and take no more."""
        self._stopped = True
        for held, task in self._held.items():
            if not held.over:
                log.warning("conversation.lost", job=held.parcel.turns[-1].job, why="the bridge ends")
            task.cancel()
        for beside in self._beside:
            beside.cancel()

    async def _keep(self, held: _Held) -> None:
        try:
            async with asyncio.timeout(self._hold_s):
                while not held.over:
                    await asyncio.sleep(self._pause_s)
                    try:
                        await self._once(held)
                    except FleetError as error:
                        log.debug("conversation.waits", job=held.parcel.turns[-1].job, error=error.code)
        except TimeoutError:
            log.warning("conversation.lost", job=held.parcel.turns[-1].job, held_s=self._hold_s)

    async def _once(self, held: _Held) -> None:
        """Try; raises what may pass, and is done with the turns otherwise."""
        async with held.trying:
            if held.over:
                return
            parcel = held.parcel
            try:
                await self._conversations.append(parcel.owner, parcel.conversation, parcel.turns)
            except FleetError as error:
                if may_pass(error):
                    raise
                log.warning("conversation.unkept", job=parcel.turns[-1].job, error=error.code)
            else:
                log.info("conversation.kept", job=parcel.turns[-1].job, late=True)
            held.over = True


@asynccontextmanager
async def belated(
    conversations: Conversations, *, hold_s: float = HOLD_S, pause_s: float = PAUSE_S
) -> AsyncIterator[Belated]:
    """Hold for the life of the context."""
    async with asyncio.TaskGroup() as group:
        found = Belated(conversations, group, hold_s=hold_s, pause_s=pause_s)
        try:
            yield found
        finally:
            found.stop()
