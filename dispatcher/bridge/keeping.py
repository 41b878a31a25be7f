"""What is kept of a chat: its new turns, and what was answered; it knows no API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from common import frames
from common.conversation_client import Conversations
from common.conversations import HANGUP, MOST_ENDED_CHARS, MOST_IMAGE_CHARS, PENDING, Ended, Given, Turn, keepable
from common.errors import FleetError, LedgerUnavailable
from common.logs import get_logger
from common.messages import ChatRequest, Message, Role
from dispatcher.bridge.belated import Belated, Parcel, may_pass
from dispatcher.bridge.files.desk import Desk
from dispatcher.bridge.threads import Thread, asked_id, digest

log = get_logger("bridge")

Json = dict[str, Any]

KEEP_S = 10.0
"""A ledger that is there gets so long to keep what was said; who waits for the end of the answer waits for that, too."""

AWAY_S = 2.5
"""So long one that is not there is tried again, which who waits for the end should hardly notice."""

TRY_S = 2.5
"""After so long it is asked once more: what was sent to a ledger just as it died is lost, and nobody says so. One that is slow
finds that it has kept the turns already."""

AGAIN_S = 0.25
"""Between two of these tries."""

BEGUN_S = 0.5
"""So long the end of an answer waits until its question is kept: the other way round what stands for the answer would stay."""

SHRINK_S = 10.0
"""Images that are too large to be kept get so long to be made smaller."""


_LEFT = "whoever asked was gone before it was complete"
_LEFT_BEFORE = "the page was closed or read anew before an answer came"


@dataclass(slots=True, kw_only=True)
class Said:
    """What came of a chat so far."""

    text: list[str] = field(default_factory=list)
    note: frames.RouteNote | None = None
    end: frames.End | None = None
    error: FleetError | None = None

    def hear(self, frame: frames.Frame) -> None:
        """Remember what a frame says."""
        match frame:
            case frames.Token():
                self.text.append(frame.text)
            case frames.RouteNote():
                self.note = frame
            case frames.End():
                self.end = frame
            case frames.Err():
                self.error = frame.error
            case _:
                pass

    @property
    def fault(self) -> Ended | None:
        """By what it ended early, if it did."""
        if self.end is not None:
            return None
        if self.error is None:
            return Ended(code=HANGUP, message=_LEFT if self.text else _LEFT_BEFORE)
        return Ended(code=self.error.code, message=self.error.message[:MOST_ENDED_CHARS])


@dataclass(slots=True, kw_only=True)
class Begun:
    """A question that is kept while its answer comes: `asked`, in the end as it is kept."""

    asked: tuple[Turn, ...]
    task: asyncio.Task[None] | None = None

    async def turns(self) -> tuple[Turn, ...]:
        """Give its turns when they are kept; what takes too long is given up."""
        if self.task is not None and not self.task.done():
            await asyncio.wait({self.task}, timeout=BEGUN_S)
            self.task.cancel()
        return self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Keeps turns. `files` makes images small enough to be kept; `belated` has what the ledger can't keep at once."""

    conversations: Conversations
    files: Desk
    belated: Belated
    away_s: float = AWAY_S

    def begin(self, chat: ChatRequest, thread: Thread, asked: Sequence[Turn]) -> Begun:
        """Have a question kept before its answer comes: who asked finds it again if this process is killed meanwhile. Without a
        ledger nothing is changed by it."""
        begun = Begun(asked=tuple(asked))
        begun.task = self.belated.beside(self._begin(chat, thread, begun))
        return begun

    async def _begin(self, chat: ChatRequest, thread: Thread, begun: Begun) -> None:
        begun.asked = told = tuple([keepable(await self._small(turn, thread.key)) for turn in begun.asked])
        try:
            async with asyncio.timeout(TRY_S):
                await self.conversations.append(thread.owner, thread.id, (*told, _stand_in(chat, told[-1])))
        except (FleetError, TimeoutError) as error:
            log.debug("conversation.unbegun", job=chat.job, error=type(error).__name__)

    async def keep(self, chat: ChatRequest, thread: Thread, asked: Sequence[Turn], said: Said) -> Json:
        """Keep what is new, and say how that went: no answer fails because it can't be kept. May be done again with the same.

        1. It is kept. 2. No ledger is there, or it is slow: it is kept `later`, if one comes back soon. 3. It is not, and never
        will be.
        """
        answer = _answer(chat, asked[-1], said)
        told = [await self._small(turn, thread.key) for turn in asked]
        parcel = Parcel(
            owner=thread.owner, conversation=thread.id, turns=tuple(keepable(turn) for turn in (*told, answer))
        )
        try:
            await self._now(parcel)
        except (FleetError, TimeoutError) as error:
            code = error.code if isinstance(error, FleetError) else LedgerUnavailable.code
            if may_pass(error) and self.belated.take(parcel):  # 2
                log.info("conversation.later", job=chat.job, error=code)
                return {"turn": answer.id, "kept": False, "later": True, "why": code}
            log.warning("conversation.unkept", job=chat.job, error=code)  # 3
            return {"kept": False, "why": code}
        return {"turn": answer.id, "kept": True}  # 1

    async def settle(self, thread: Thread) -> None:
        """Have the ledger keep what it could not before, ahead of who reads the conversation. Raises as `Belated.settle`."""
        await self.belated.settle(thread.owner, thread.id)

    async def _now(self, parcel: Parcel) -> None:
        """Have it kept. Raises what the last try failed with, when nobody was there for `away_s`, and `TimeoutError`."""
        last_s = asyncio.get_running_loop().time() + self.away_s
        async with asyncio.timeout(KEEP_S):
            while True:
                try:
                    async with asyncio.timeout(TRY_S):
                        await self.conversations.append(parcel.owner, parcel.conversation, parcel.turns)
                        return
                except TimeoutError:
                    continue
                except FleetError as error:
                    if not may_pass(error) or asyncio.get_running_loop().time() > last_s:
                        raise
                await asyncio.sleep(AGAIN_S)

    async def _small(self, turn: Turn, key: str | None) -> Turn:
        """Shrink the images of a turn that has more than is kept; what can't be is left out by the ledger's client."""
        if sum(map(len, turn.message.images)) <= MOST_IMAGE_CHARS:
            return turn
        try:
            async with asyncio.timeout(SHRINK_S):
                images = await self.files.images(turn.message.images, MOST_IMAGE_CHARS, key)
        except (FleetError, TimeoutError) as error:
            code = error.code if isinstance(error, FleetError) else "slow"
            log.info("conversation.images", job=turn.job, error=code)
            return turn
        return replace(turn, message=replace(turn.message, images=images))


def asked_turns(
    chat: ChatRequest, turns: Sequence[Turn], new: Sequence[Message], given: Given | None = None
) -> tuple[Turn, ...]:
    """Make turns of what is new behind others; `given` is of the last. What the system said is kept where it is not what it has
    said already. Pure."""
    system = next((turn.message for turn in reversed(turns) if turn.message.role is Role.SYSTEM), None)
    fresh = [message for message in new if message != system] or list(new)
    made = [Turn(id=asked_id(chat, place), message=message, job=chat.job) for place, message in enumerate(fresh)]
    made[:1] = [replace(turn, parent=turns[-1].id if turns else None) for turn in made[:1]]
    made[1:] = [replace(turn, parent=before.id) for before, turn in pairwise(made)]
    made[-1:] = [replace(turn, given=given) for turn in made[-1:]]
    return tuple(made)


def _stand_in(chat: ChatRequest, asked: Turn) -> Turn:
    """Make what stands for an answer until that comes."""
    return Turn(
        id=digest(str(chat.job), PENDING),
        parent=asked.id,
        message=Message(role=Role.ASSISTANT),
        job=chat.job,
        broken_off=True,
        error=Ended(code=PENDING, message="it is still being written, or the bridge ended before it was"),
    )


def _answer(chat: ChatRequest, asked: Turn, said: Said) -> Turn:
    """Make a turn of an answer, also of one that never came. Its id has its words: another answer to the same is a branch."""
    text, fault = "".join(said.text), said.fault
    broken_off = fault is not None
    return Turn(
        id=digest(str(chat.job), "answer", f"{broken_off}{text}"),
        parent=asked.id,
        message=Message(role=Role.ASSISTANT, content=text, tool_calls=() if said.end is None else said.end.tool_calls),
        job=chat.job,
        device=None if said.note is None else said.note.device,
        model=None if said.note is None else said.note.model,
        completion_tokens=None if said.end is None else said.end.usage.completion_tokens,
        broken_off=broken_off,
        error=fault,
    )


def as_sent(asked: Sequence[Turn], chat: ChatRequest, sent: ChatRequest) -> tuple[Turn, ...]:
    """Give the new turns of a chat with the images that were sent in place of those that came: a camera's are too large to be kept.
    Pure."""
    given, made = _images(chat), _images(sent)
    if len(given) != len(made):
        return tuple(asked)
    which: Mapping[str, str] = dict(zip(given, made, strict=True))
    return tuple(
        replace(turn, message=replace(turn.message, images=tuple(which.get(one, one) for one in turn.message.images)))
        for turn in asked
    )


def _images(chat: ChatRequest) -> tuple[str, ...]:
    return tuple(image for message in chat.messages for image in message.images)
