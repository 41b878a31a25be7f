"""Which conversation a chat belongs to, and what was said in it before; it knows no API, and keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from common import codec
from common.conversation_client import Conversations
from common.conversations import MOST_TURNS, Given, Owner, Turn, Turns
from common.errors import BadRequest, PayloadTooLarge
from common.messages import ChatRequest, Message, Role
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.contexts import Room
from dispatcher.bridge.memory.fitting import MOST_IMAGES
from dispatcher.bridge.memory.title import title_of

NEW = "new"
"""What names a conversation that is yet to be made."""

CHARS_PER_TOKEN = 8
"""More than any text has: what is longer than this for a context needs not be read to know that it does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """The conversation that a chat belongs to, and whose it is. `key` is the one that the chat came with, if any; `made` tells that
    the chat begins it."""

    id: str
    owner: Owner
    key: str | None = None
    made: bool = False


def owner_of(caller: Caller) -> Owner:
    """Say whose conversations a caller opens."""
    return Owner(tenant=caller.tenant, user=caller.user)


def thread_of(name: str, chat: ChatRequest, caller: Caller) -> Thread:
    """Give the conversation that a request names. The id of a new one follows from the job's: who sends it twice has one."""
    owner, key = owner_of(caller), None if caller.grant is None else caller.grant.key
    if name != NEW:
        return Thread(id=name, owner=owner, key=key)
    new = digest(owner.tenant, owner.user, "conversation", str(chat.job))
    return Thread(id=new, owner=owner, key=key, made=True)


def asked_id(chat: ChatRequest, place: int) -> str:
    """Give the id of a turn that is new with a chat: the same for one that is sent again."""
    return digest(str(chat.job), "asked", str(place))


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """Reads what was said, no more of it than `most_bytes`, which the bus carries."""

    conversations: Conversations
    most_bytes: int

    async def before(
        self, chat: ChatRequest, thread: Thread, new: Sequence[Message], room: Room, given: Given | None = None
    ) -> Turns:
        """Give the turns before a chat that a model with `room` could be told. One that was sent before, under an id that its
        sender chose, is told the same as then. One that begins a conversation gives it its title, by what its user has `given`.

        Raises `UnknownConversation`, `LedgerUnavailable`, and `PayloadTooLarge` for a conversation that is full.
        """
        if thread.made:
            there = await self.conversations.create(thread.owner, title=_title(new, given), new=thread.id)
            if not there.turns:
                return Turns(conversation=there)
        page = await self._turns(chat, thread, room)
        if page.conversation.turns + len(new) + 1 > MOST_TURNS:
            raise PayloadTooLarge(
                f"the conversation has {page.conversation.turns} turns, and at most {MOST_TURNS} are kept: begin a new one, or a "
                "branch of it",
                param="conversation_id",
            )
        return page

    async def asked(self, thread: Thread, turn: str) -> Turn:
        """Give one turn. Raises `UnknownConversation`, `BadRequest` for one that is not there, and `LedgerUnavailable`."""
        return (await self.conversations.get(thread.owner, thread.id, turn=turn, limit=1)).turns[-1]

    async def _turns(self, chat: ChatRequest, thread: Thread, room: Room) -> Turns:
        if chat.resends is None:
            first = asked_id(chat, 0)
            try:
                page = await self._history(thread, first, room)
            except BadRequest:
                pass  # it is new
            else:
                return replace(page, turns=tuple(takewhile(lambda turn: turn.id != first, page.turns)))
        return await self._history(thread, None, room)

    async def _history(self, thread: Thread, turn: str | None, room: Room) -> Turns:
        most_chars = min(self.most_bytes, room.tokens * CHARS_PER_TOKEN)
        return await self.conversations.history(
            thread.owner, thread.id, turn=turn, most_chars=most_chars, most_images=MOST_IMAGES
        )


def digest(*parts: str) -> str:
    """Give an id that follows from its parts, and from nothing else."""
    return codec.digest({"of": list(parts)}, 32)


def _title(new: Sequence[Message], given: Given | None) -> str:
    said = [one.content for one in new if one.role is Role.USER]
    if given is not None:
        said[-1:] = [said[-1][given.begin :] or given.files[0].name]
    return title_of(said[0]) if said else ""
