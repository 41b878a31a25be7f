"""Answers what is asked of conversations over the bus; it knows no SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from common import codec
from common.bus import Bus
from common.clock import Clock
from common.conversations import (
    Append,
    Asked,
    AskedOf,
    Branch,
    Conversation,
    Create,
    Deleted,
    Export,
    Exported,
    Get,
    Listing,
    Page,
    Rename,
    Search,
    Select,
    Summarise,
    Turns,
)
from common.errors import BadRequest, PayloadTooLarge
from common.subjects import Subjects
from dispatcher.ledger.answering import Answer, Answering
from dispatcher.ledger.database import Database, RowRefused
from dispatcher.ledger.desk import ANSWER_S, MOST_WAITING
from dispatcher.ledger.fitting import room
from dispatcher.ledger.talk import reading, writing
from dispatcher.ledger.talk.rows import require_bounded

Q = TypeVar("Q", bound=Asked)


class TalkDesk:
    """The verbs, over a database. An owner has at most `most` conversations, and `most_bytes` in them. Lists tell of `kept_days`,
    after which somebody else forgets them; 0 is never.

    What is kept must fit an answer again: a turn has half of one at most, and a summary a quarter.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        database: Database,
        *,
        clock: Clock,
        most: int,
        most_bytes: int,
        kept_days: int = 0,
        answer_s: float = ANSWER_S,
        search_s: float = reading.SEARCH_S,
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._database = database
        self._clock = clock
        self.most = most
        self.most_bytes = most_bytes
        self.kept_days = kept_days
        self._search_s = search_s
        self.tally = Answering(bus, most_waiting=MOST_WAITING, answer_s=answer_s, late="ask for less, or once more")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer for the life of the context."""
        verbs: Mapping[str, Answer] = {
            "create": _of(Create, self._create),
            "list": _of(Listing, self._list),
            "search": _of(Search, self._search),
            "get": _of(Get, self._get),
            "rename": _of(Rename, self._rename),
            "select": _of(Select, self._select),
            "branch": _of(Branch, self._branch),
            "append": _of(Append, self._append),
            "summarise": _of(Summarise, self._summarise),
            "delete": _of(AskedOf, self._delete),
            "delete_all": _of(Asked, self._delete_all),
            "export": _of(Export, self._export),
        }
        by_subject = {self._subjects.conversations(verb): answer for verb, answer in verbs.items()}
        async with self.tally.open(by_subject):
            yield

    async def _create(self, asked: Create) -> Conversation:
        return await writing.create(self._database, asked, now_unix_s=self._clock.unix_s(), most=self.most)

    async def _list(self, asked: Listing) -> Page:
        return self._told(await reading.listed(self._database, asked, room(self._bus.max_payload)))

    async def _search(self, asked: Search) -> Page:
        found = await reading.search(self._database, asked, room(self._bus.max_payload), search_s=self._search_s)
        return self._told(found)

    def _told(self, page: Page) -> Page:
        return replace(page, kept_days=self.kept_days or None)

    async def _get(self, asked: Get) -> Turns:
        return await reading.branch_turns(self._database, asked, room(self._bus.max_payload))

    async def _rename(self, asked: Rename) -> Conversation:
        return await writing.rename(self._database, asked)

    async def _select(self, asked: Select) -> Conversation:
        return await writing.choose(self._database, asked)

    async def _branch(self, asked: Branch) -> Conversation:
        now_unix_s = self._clock.unix_s()
        return await writing.branch(
            self._database, asked, now_unix_s=now_unix_s, most=self.most, most_bytes=self.most_bytes
        )

    async def _append(self, asked: Append) -> Conversation:
        for turn in asked.turns:
            require_bounded(turn, room(self._bus.max_payload) // 2)
        return await writing.append(self._database, asked, now_unix_s=self._clock.unix_s(), most_bytes=self.most_bytes)

    async def _summarise(self, asked: Summarise) -> Conversation:
        if (size_bytes := len(asked.summary.text.encode())) > room(self._bus.max_payload) // 4:
            raise PayloadTooLarge(
                f"the summary has {size_bytes} bytes: at most {room(self._bus.max_payload) // 4} are kept"
            )
        return await writing.summarise(self._database, asked)

    async def _delete(self, asked: AskedOf) -> Deleted:
        await writing.remove(self._database, asked)
        return Deleted(conversations=1)

    async def _delete_all(self, asked: Asked) -> Deleted:
        return Deleted(conversations=await writing.remove_all(self._database, asked.owner))

    async def _export(self, asked: Export) -> Exported:
        return await reading.export(self._database, asked, room(self._bus.max_payload))


def _of(asked: type[Q], answer: Callable[[Q], Awaitable[Any]]) -> Answer:
    """Read the question, and write the answer."""

    async def said(wire: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return codec.plain(await answer(codec.build(asked, wire)))
        except RowRefused as error:
            raise BadRequest(f"the database can't keep a name or a number of this ({error})") from error

    return said
