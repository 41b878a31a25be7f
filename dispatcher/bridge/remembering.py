"""A chat that belongs to a conversation: what was said before stands in front of it, and what is said now is kept; it knows no API.

Two chats at once in one conversation become two branches, each behind the turn that it was asked behind, and the one that ends last
is the one that goes on: no answer is lost, and nobody is refused after a device has worked for a minute. A chat that failed or was
left before its first word leaves nothing; one that broke off later leaves its words, marked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import Any

from common import codec, frames
from common.conversation_client import Conversations
from common.conversations import MOST_TURNS, Owner, Summary, Turn, Turns
from common.errors import BadRequest, ContextTooLong, FleetError, PayloadTooLarge
from common.logs import get_logger
from common.messages import ChatRequest, Message, Role, conversation
from common.prompts import ANSWER_TOKENS, LEAST_ANSWER_TOKENS
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.contexts import Room, room_of
from dispatcher.bridge.folding import Folding
from dispatcher.bridge.memory.summary import Recalled, recalled
from dispatcher.bridge.memory.title import title_of
from dispatcher.bridge.memory.trimming import Trimmed, trimmed
from dispatcher.bridge.presence import Presence

log = get_logger("bridge")

Json = dict[str, Any]

NEW = "new"
"""What names a conversation that is yet to be made."""

KEEP_S = 10.0
"""The ledger gets so long to keep what was said; who waits for the answer waits for that, too, since the next question needs it."""

MARGIN_BYTES = 128 * 1024
"""For what a job has besides its messages, and for images that are to be made smaller."""

MOST_IMAGES = 8
"""Of earlier turns, the newest: a request may have a few times as many."""

MOST_MESSAGES = 990
"""A request may have a thousand."""

CHARS_PER_TOKEN = 8
"""More than any text has: what is longer than this for a context needs not be read to know that it does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """The conversation that a chat belongs to, and whose it is. `made` tells that the chat begins it."""

    id: str
    owner: Owner
    made: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A chat with what stands in front of it; `asked` are the turns that are new with it."""

    chat: ChatRequest
    asked: tuple[Turn, ...]
    facts: Json


def owner_of(caller: Caller) -> Owner:
    """Say whose conversations a caller opens."""
    return Owner(tenant=caller.tenant, user=caller.user)


def thread_of(name: str, chat: ChatRequest, caller: Caller) -> Thread:
    """Give the conversation that a request names. The id of a new one follows from the job's: who sends it twice has one."""
    owner = owner_of(caller)
    if name != NEW:
        return Thread(id=name, owner=owner)
    return Thread(id=_digest(owner.tenant, owner.user, "conversation", str(chat.job)), owner=owner, made=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembering:
    """Puts conversations around chats. `most_bytes` is what the bus carries; without `folding` nothing is summarised."""

    asking: Asking
    conversations: Conversations
    presence: Presence
    most_bytes: int
    folding: Folding | None = None

    async def answered(self, chat: ChatRequest, caller: Caller, thread: Thread) -> AsyncGenerator[frames.Frame, None]:
        """Give the frames of a chat's answer; what was said is kept before the last of them. Raises as `told`, and as `Asking`."""
        told = await self.told(chat, caller, thread)
        said, note, over = list[str](), None, False
        try:
            async with aclosing(self.asking.frames(told.chat, caller)) as source:
                async for frame in source:
                    match frame:
                        case frames.Token():
                            said.append(frame.text)
                        case frames.RouteNote():
                            note = frame
                        case frames.End():
                            over = True
                            kept = await self._keep(told, thread, _answer(told, said, note, frame))
                            self._fold(chat, caller, thread, note)
                            frame = replace(frame, route={**(frame.route or {}), "conversation": kept})  # noqa: PLW2901
                        case frames.Err():
                            over = True
                            await self._keep_part(told, thread, said, note)
                        case _:
                            pass
                    yield frame
        finally:
            if not over:
                await self._keep_part(told, thread, said, note)

    async def told(self, chat: ChatRequest, caller: Caller, thread: Thread) -> Told:
        """Put the conversation in front of a chat, as much as fits the largest context that its model has on any device.

        Raises `UnknownConversation`, `LedgerUnavailable`, `ContextTooLong` where what is new is too long by itself, and
        `PayloadTooLarge` for a conversation that is full.
        """
        new = conversation(chat)
        first = _digest(str(chat.job), "asked", "0")
        room = room_of(chat, caller, self.presence.fleet())
        page = await self._turns(chat, thread, new, first, room)
        there = page.conversation
        if there.turns + len(new) + 1 > MOST_TURNS:
            raise PayloadTooLarge(
                f"the conversation has {there.turns} turns, and at most {MOST_TURNS} are kept: begin a new one, or a branch of it",
                param="conversation_id",
            )
        past = recalled(page.turns, page.summary)
        fitted = _fitted(past, new, chat, room, self.most_bytes - MARGIN_BYTES)
        asked = _asked(str(chat.job), page.turns, new)
        facts = {"id": thread.id, "told": len(fitted.messages), "left_out": fitted.left_out}
        if fitted.summarised:
            facts["summarised"] = True
        return Told(chat=replace(chat, prompt=None, messages=fitted.messages), asked=asked, facts=facts)

    async def _turns(self, chat: ChatRequest, thread: Thread, new: Sequence[Message], first: str, room: Room) -> Turns:
        """Give the turns before a chat. One that was sent before, under an id that its sender chose, is told the same as then."""
        if thread.made:
            there = await self.conversations.create(thread.owner, title=_title(new), new=thread.id)
            if not there.turns:
                return Turns(conversation=there)
        if chat.resends is None:
            try:
                page = await self._read(thread, first, room)
            except BadRequest:
                pass  # it is new
            else:
                return replace(page, turns=tuple(takewhile(lambda turn: turn.id != first, page.turns)))
        return await self._read(thread, None, room)

    async def _read(self, thread: Thread, turn: str | None, room: Room) -> Turns:
        """Give the last turns of a branch: back to those that a summary covers, or as many as any model could be told."""
        page = await self.conversations.get(thread.owner, thread.id, turn=turn)
        turns, most = page.turns, min(self.most_bytes, room.tokens * CHARS_PER_TOKEN)
        while page.next is not None and not _covers(page.summary, turns) and _chars(turns) < most:
            before = await self.conversations.get(thread.owner, thread.id, turn=page.next)
            turns = before.turns + turns
            page = replace(page, next=before.next)
        return replace(page, turns=turns)

    async def _keep_part(self, told: Told, thread: Thread, said: Sequence[str], note: frames.RouteNote | None) -> None:
        """Keep what was said before it broke off; where no word was, the question is not kept either: it can be asked again."""
        if said:
            await self._keep(told, thread, _answer(told, said, note, None))

    async def _keep(self, told: Told, thread: Thread, answer: Turn) -> Json:
        """Keep what is new. No answer fails because it can't be kept: that is said."""
        try:
            async with asyncio.timeout(KEEP_S):
                await self.conversations.append(thread.owner, thread.id, (*told.asked, answer))
        except (FleetError, TimeoutError) as error:
            code = error.code if isinstance(error, FleetError) else "bus_timeout"
            log.warning("conversation.unkept", job=told.chat.job, error=code)
            return {**told.facts, "kept": False, "why": code}
        return {**told.facts, "turn": answer.id, "kept": True}

    def _fold(self, chat: ChatRequest, caller: Caller, thread: Thread, note: frames.RouteNote | None) -> None:
        if self.folding is not None:
            room = room_of(chat, caller, self.presence.fleet())
            self.folding.offer(caller, thread.owner, thread.id, chat.model if note is None else note.model, room.tokens)


def _fitted(past: Recalled, new: Sequence[Message], chat: ChatRequest, room: Room, most_bytes: int) -> Trimmed:
    """Trim to the context, and to what the bus carries. Raises `ContextTooLong`."""
    history = _few_images(past.messages[-max(1, MOST_MESSAGES - len(new)) :])
    skipped = len(past.messages) - len(history) + past.covered

    def trim(context_tokens: int, answer_tokens: int) -> Trimmed:
        return trimmed(
            history,
            new,
            context_tokens=context_tokens,
            answer_tokens=answer_tokens,
            tools=chat.tools,
            summary=past.summary,
        )

    if room.known and not trim(room.tokens, chat.options.max_tokens or LEAST_ANSWER_TOKENS).fits:
        raise ContextTooLong(
            f"what is new has some {trim(room.tokens, 0).tokens} tokens, and no device has more than {room.tokens} for "
            f"{chat.model}: shorten it, or ask for a shorter answer",
            param="messages",
        )
    context = room.tokens
    while True:
        found = trim(context, chat.options.max_tokens or ANSWER_TOKENS)
        if found.left_out >= len(history) or _bytes(found.messages) <= most_bytes:
            return replace(found, left_out=found.left_out + skipped)
        context = context * 3 // 4


def _asked(job: str, turns: Sequence[Turn], new: Sequence[Message]) -> tuple[Turn, ...]:
    """Make turns of what is new. What the system said is kept where it is not what it has said already."""
    system = next((turn.message for turn in reversed(turns) if turn.message.role is Role.SYSTEM), None)
    fresh = [message for message in new if message != system] or list(new)
    made = [Turn(id=_digest(job, "asked", str(place)), message=message, job=job) for place, message in enumerate(fresh)]
    made[:1] = [replace(turn, parent=turns[-1].id if turns else None) for turn in made[:1]]
    made[1:] = [replace(turn, parent=before.id) for before, turn in pairwise(made)]
    return tuple(made)


def _answer(told: Told, said: Sequence[str], note: frames.RouteNote | None, end: frames.End | None) -> Turn:
    """Make a turn of an answer; without an end it broke off. Its id has its words: another answer to the same is a branch."""
    text = "".join(said)
    broken_off = end is None
    return Turn(
        id=_digest(str(told.chat.job), "answer", f"{broken_off}{text}"),
        parent=told.asked[-1].id,
        message=Message(role=Role.ASSISTANT, content=text, tool_calls=() if end is None else end.tool_calls),
        job=told.chat.job,
        device=None if note is None else note.device,
        model=None if note is None else note.model,
        completion_tokens=None if end is None else end.usage.completion_tokens,
        broken_off=broken_off,
    )


def _title(new: Sequence[Message]) -> str:
    return next((title_of(one.content) for one in new if one.role is Role.USER), "")


def _covers(summary: Summary | None, turns: Sequence[Turn]) -> bool:
    return summary is not None and any(turn.id == summary.covers for turn in turns)


def _chars(turns: Sequence[Turn]) -> int:
    return sum(len(one.message.content) + sum(map(len, one.message.images)) for one in turns)


def _few_images(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Leave out the images of all but the newest messages."""
    left, found = MOST_IMAGES, list[Message]()
    for message in reversed(messages):
        left -= len(message.images)
        found.append(message if left >= 0 or not message.images else replace(message, images=()))
    return tuple(reversed(found))


def _bytes(messages: Sequence[Message]) -> int:
    """Give the size of what is said; images are made to fit what is left."""
    return sum(len(codec.encode_request(codec.plain(replace(one, images=())))) for one in messages)


def _digest(*parts: str) -> str:
    return codec.digest({"of": list(parts)}, 32)
