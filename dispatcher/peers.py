"""The other dispatchers: who is there, and whether one of them has a job already; it knows neither jobs nor what they answer.

Each says every two seconds that it lives, and greets one that it did not know, so that a newcomer knows all after one round
trip. A lone dispatcher asks nobody and waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.bus.mux import ReplyMux
from common.errors import BadRequest, BusError
from common.logs import get_logger
from common.subjects import Subjects, is_token

log = get_logger("peers")

BEAT_S = 2.0
GONE_S = 3 * BEAT_S
"""A dispatcher that was not heard for so long is gone; one that stops in good order says so."""

ANSWER_S = 0.25
"""What a dispatcher gets to answer. Those that live answer within a millisecond; one that was just killed costs this, once
for each job whose id was chosen by a client, until it counts as gone."""


CONFIRM_S = 2.0
"""So long who has a job waits for the asker to take the offer: longer than any asker waits, in seconds, not in round trips."""

MOST_PEERS = 64
"""More are not listened to: each one that is silent costs every job with a given id a wait."""


class Word(StrEnum):
    """What a dispatcher says when it is asked for a job."""

    MINE = "mine"  # and the asker's party hears the answer from it
    NO = "no"
    CONFLICT = "conflict"  # it has that id, for another request


class Peers:
    """The dispatchers beside this one. Open it with `peers`. `now` is monotonic, in seconds."""

    def __init__(self, bus: Bus, mux: ReplyMux, subjects: Subjects, me: str, now: Callable[[], float]) -> None:
        self.me = me
        self._bus = bus
        self._mux = mux
        self._subjects = subjects
        self._now = now
        self._heard_s: dict[str, float] = {}
        self._newcomer = asyncio.Event()

    @property
    def others(self) -> frozenset[str]:
        """Those that were heard lately."""
        limit_s = self._now() - GONE_S
        return frozenset(name for name, heard_s in self._heard_s.items() if heard_s > limit_s)

    def hear(self, delivery: Delivery) -> None:
        """Take what a dispatcher says of itself."""
        name = self._subjects.tokens(delivery.subject)[1]
        if name == self.me:
            return
        if delivery.data == _LEAVING:
            self._heard_s.pop(name, None)
            return
        others = self.others
        if name not in others:
            self._forget(others)
            if len(others) >= MOST_PEERS:
                return
            self._newcomer.set()
        self._heard_s[name] = self._now()

    def _forget(self, others: frozenset[str]) -> None:
        """Drop the names of those that are gone: each start of a dispatcher brings a new one."""
        self._heard_s = {name: heard_s for name, heard_s in self._heard_s.items() if name in others}

    async def beat(self) -> None:
        """Say that this one lives; without a bus nobody hears it."""
        self._newcomer.clear()
        try:
            await self._bus.publish(self._subjects.peer(self.me), _HERE)
        except BusError:
            return

    async def keep(self) -> None:
        """Say so every two seconds, and at once to a newcomer; for ever."""
        while True:
            await self.beat()
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._newcomer.wait()
            except TimeoutError:
                pass  # nobody came: it is time for the next word all the same

    async def leave(self) -> None:
        """Say that this one takes no jobs any more."""
        try:
            await self._bus.publish(self._subjects.peer(self.me), _LEAVING)
        except BusError:
            return

    async def ask(self, job: str, order: Mapping[str, Any]) -> Word:
        """Ask all whether they have a job. Gives `MINE` as soon as one has it, `NO` when all have said so or time is over.

        Who has it begins to tell its party only when the offer is taken: one that answers too late, or second, tells nothing, and
        a party never hears two.
        """
        waiting, heard = set(self.others), asyncio.Queue[tuple[str, Word, str]]()

        def hear(_: int, delivery: Delivery) -> None:
            if (said := _read(delivery)) is not None:
                heard.put_nowait((*said, delivery.reply))

        with self._mux.slot(hear) as reply:
            try:
                payload = codec.encode({**order, "job": job})
                await self._bus.publish(self._subjects.peer_question(self.me), payload, reply=reply(1))
                async with asyncio.timeout(ANSWER_S):
                    while waiting:
                        name, word, take = await heard.get()
                        waiting.discard(name)
                        if word is Word.MINE and take:
                            await self._bus.publish(take, _TAKEN)
                        if word is not Word.NO:
                            return word
            except (TimeoutError, BusError):
                log.warning("peers.silent", job=job, peers=sorted(waiting))
        return Word.NO

    async def hang_up(self, job: str, tenant: str, reply: str) -> None:
        """Tell whoever has a job that one party of it is gone."""
        try:
            body = codec.encode({"tenant": tenant, "reply": reply})
            await self._bus.publish(self._subjects.control(job, "cancel"), body)
        except BusError:
            return

    async def say(self, word: Word, reply: str) -> bool:
        """Answer another one's `ask`; True when it was an offer, and is taken."""
        said = codec.encode({"from": self.me, "word": str(word)})
        try:
            if word is Word.MINE:
                await self._bus.request(reply, said, timeout_s=CONFIRM_S)
                return True
            await self._bus.publish(reply, said)
        except BusError as error:
            log.debug("peers.untold", word=str(word), error=error.code)
        return False


_HERE = b'{"state":"here"}'
_LEAVING = b'{"state":"leaving"}'
_TAKEN = b"{}"


def _read(delivery: Delivery) -> tuple[str, Word] | None:
    if not delivery.data:
        return None
    try:
        said = codec.decode_request(delivery.data)
        return str(said["from"]), Word(said["word"])
    except (BadRequest, KeyError, ValueError):
        return None


@asynccontextmanager
async def peers(bus: Bus, mux: ReplyMux, subjects: Subjects, me: str, now: Callable[[], float]) -> AsyncIterator[Peers]:
    """Hear the other dispatchers for the life of the context; `me` is a name that nobody else has."""
    if not is_token(me):
        raise BadRequest(f"{me!r} is no name for a dispatcher", param="dispatcher")
    one = Peers(bus, mux, subjects, me, now)
    hearing = await bus.subscribe(subjects.peer("*"), one.hear, pending=4096)
    try:
        yield one
    finally:
        await hearing.unsubscribe()
