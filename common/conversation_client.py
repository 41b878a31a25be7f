"""Asks the ledger for conversations over the bus, and keeps turns there; it knows neither HTTP nor databases."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from common import codec
from common.bus import Bus
from common.conversations import (
    LISTED,
    MOST_AT_ONCE,
    MOST_TURN_CHARS,
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
    Owner,
    Page,
    Rename,
    Search,
    Select,
    Summarise,
    Summary,
    Turn,
    Turns,
    Where,
    keepable,
    new_id,
    spoken,
    without_images,
)
from common.errors import PayloadTooLarge
from common.ledger import ASK_S, WAY_OUT, exchange
from common.subjects import Subjects

T = TypeVar("T")

NO_LEDGER = f"no ledger answers, and it keeps the conversations: {WAY_OUT}"

MARGIN_BYTES = 4096
"""What a message has besides turns."""

IMAGE_CHARS = 8192
"""As much text as takes a model the time of an image."""


class Conversations:
    """The conversations of all owners, each asked for by name; safe for any number of callers at once.

    All methods raise `LedgerUnavailable` when no ledger answers, and says what to do; `BusDisconnected`; and `BadRequest` for what
    is out of bounds. What is asked of a conversation that is not there, or is another owner's, raises `UnknownConversation`.
    """

    def __init__(self, bus: Bus, subjects: Subjects, *, timeout_s: float = ASK_S) -> None:
        self._bus = bus
        self._subjects = subjects
        self._timeout_s = timeout_s

    async def create(self, owner: Owner, *, title: str = "", new: str | None = None) -> Conversation:
        """Make an empty one. Raises `NotAllowed` when the owner has as many as may be kept."""
        return await self._ask("create", Create(owner=owner, id=new or new_id(), title=title), Conversation)

    async def listed(self, owner: Owner, *, limit: int = LISTED, before: str | None = None) -> Page:
        """Give a page, newest first."""
        return await self._ask("list", Listing(owner=owner, limit=limit, before=before), Page)

    async def search(self, owner: Owner, text: str, *, limit: int = LISTED, before: str | None = None) -> Page:
        """Give a page of those that have all words of `text`."""
        return await self._ask("search", Search(owner=owner, text=text, limit=limit, before=before), Page)

    async def get(
        self,
        owner: Owner,
        conversation: str,
        *,
        turn: str | None = None,
        limit: int = MOST_AT_ONCE,
        accounts: bool = True,
    ) -> Turns:
        """Give the last turns of the branch that ends with `turn`, or the head: a page, with the `accounts` of answers."""
        asked = Get(owner=owner, id=conversation, turn=turn, limit=limit, accounts=accounts)
        return await self._ask("get", asked, Turns)

    async def history(
        self,
        owner: Owner,
        conversation: str,
        *,
        turn: str | None = None,
        most_chars: float = math.inf,
        most_images: float = math.inf,
    ) -> Turns:
        """Give what a model has to know of a branch: its summary, and every turn behind those that it covers, the newest until they
        have `most_chars`, an image being as many as the tokens that a model reads it as. The turns before are given too where
        they shared a page. Behind `most_images`, the newest, a note stands for those of a turn. Questions that got no word are not
        among it."""
        page = await self.get(owner, conversation, turn=turn, accounts=False)
        turns, left = _sparing(page.turns, most_images)
        most_chars -= _chars(page.turns)
        while page.next is not None and not _covered(page.summary, turns) and most_chars > 0:
            before = await self.get(owner, conversation, turn=page.next, accounts=False)
            some, left = _sparing(before.turns, left)
            turns = some + turns
            most_chars -= _chars(before.turns)
            page = replace(page, next=before.next)
        return replace(page, turns=spoken(turns))

    async def rename(self, owner: Owner, conversation: str, title: str) -> Conversation:
        """Give it another title."""
        return await self._ask("rename", Rename(owner=owner, id=conversation, title=title), Conversation)

    async def select(self, owner: Owner, conversation: str, turn: str | None) -> Conversation:
        """Have it go on behind another turn, or at its start. Raises `BadRequest` for a turn that it does not have."""
        return await self._ask("select", Select(owner=owner, id=conversation, turn=turn), Conversation)

    async def branch(
        self, owner: Owner, conversation: str, turn: str, *, title: str | None = None, new: str | None = None
    ) -> Conversation:
        """Make a new conversation that has a copy of the turns up to `turn`, and shares nothing with this one."""
        asked = Branch(owner=owner, id=conversation, turn=turn, new=new or new_id(), title=title)
        return await self._ask("branch", asked, Conversation)

    async def append(
        self, owner: Owner, conversation: str, turns: Sequence[Turn], *, where: Where = Where.PARENT
    ) -> Conversation:
        """Keep turns; when it returns they are on the disk. May be asked again with the same ids: each is kept once.

        Turns that go into one message are kept all or none; of more, those before the refused ones stay. Images that are too large
        are left out, and a note says so. Raises `ConversationConflict` where the conversation has gone on otherwise, or an id is
        another turn's, `BadRequest` for a parent that is not there, `PayloadTooLarge` for a turn that is too long, and for a
        conversation that is full, and `NotAllowed` when the owner's turns have as many bytes as may be kept.
        """
        kept = [keepable(turn) for turn in turns]
        if where is not Where.PARENT:  # the others then stand behind one another
            kept[1:] = [replace(turn, parent=before.id) for before, turn in pairwise(kept)]
        now: Conversation | None = None
        for some in self._parcels(kept):
            asked = Append(owner=owner, id=conversation, turns=tuple(some), where=where)
            now = await self._ask("append", asked, Conversation)
            where = Where.PARENT
        return now or (await self.get(owner, conversation, limit=1)).conversation

    async def summarise(self, owner: Owner, conversation: str, summary: Summary) -> Conversation:
        """Keep a summary of the turns up to one. Raises `BadRequest` for a turn that is not there."""
        return await self._ask("summarise", Summarise(owner=owner, id=conversation, summary=summary), Conversation)

    async def delete(self, owner: Owner, conversation: str) -> None:
        """Forget one."""
        await self._ask("delete", AskedOf(owner=owner, id=conversation), Deleted)

    async def delete_all(self, owner: Owner) -> int:
        """Forget all that an owner has, and say how many those were."""
        return (await self._ask("delete_all", Asked(owner=owner), Deleted)).conversations

    async def export(self, owner: Owner, conversation: str, *, whole: bool = True) -> AsyncGenerator[Exported, None]:
        """Give all turns, or with `whole` off those of the branch that goes on, some at a time."""
        after: int | None = 0
        while after is not None:
            page = await self._ask("export", Export(owner=owner, id=conversation, after=after, whole=whole), Exported)
            after = page.next
            yield page

    def _parcels(self, turns: Sequence[Turn]) -> list[list[Turn]]:
        """Put turns into messages that the bus carries. Raises `PayloadTooLarge`."""
        most = self._bus.max_payload - MARGIN_BYTES
        parcels: list[list[Turn]] = []
        room = 0
        for turn in turns:
            if len(turn.message.content) > MOST_TURN_CHARS:
                raise PayloadTooLarge(
                    f"turn {turn.id} has {len(turn.message.content)} characters: at most {MOST_TURN_CHARS} are kept"
                )
            size = len(codec.encode_request(codec.plain(turn)))
            if size > room or len(parcels[-1]) >= MOST_AT_ONCE:
                parcels.append([])
                room = most
            parcels[-1].append(turn)
            room -= size
        return parcels

    async def _ask(self, verb: str, asked: Asked, answer: type[T]) -> T:
        # As a stranger's would be: whoever calls this may have it from one.
        wire = codec.plain(codec.build(type(asked), codec.plain(asked)))
        late = (
            f"the ledger has not answered within {self._timeout_s:g} s: see what it says of its database with "
            "`drover ledger stats`, and ask again"
        )
        subject = self._subjects.conversations(verb)
        said = await exchange(self._bus, subject, wire, timeout_s=self._timeout_s, absent=NO_LEDGER, late=late)
        return codec.build(answer, said)


def _covered(summary: Summary | None, turns: Sequence[Turn]) -> bool:
    return summary is not None and any(turn.id == summary.covers for turn in turns)


def _sparing(turns: Sequence[Turn], most_images: float) -> tuple[tuple[Turn, ...], float]:
    """Leave out the images of all but the newest turns; gives how many more there may be."""
    found = list[Turn]()
    for turn in reversed(turns):
        most_images -= len(turn.message.images)
        found.append(turn if most_images >= 0 else without_images(turn))
    return tuple(reversed(found)), most_images


def _chars(turns: Sequence[Turn]) -> int:
    return sum(len(one.message.content) + IMAGE_CHARS * len(one.message.images) for one in turns)
