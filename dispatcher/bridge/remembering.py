"""A chat that belongs to a conversation: what was said before stands in front of it, and what is said now is kept; it knows no API.

Two chats at once in one conversation become two branches, each behind the turn that it was asked behind, and the one that ends last
is the one that goes on: no answer is lost, and nobody is refused after a device has worked for a minute. A chat that failed or was
left leaves its words, and by what it was broken off; before its first word it leaves its question alone, of which no model is told,
and which takes the place of the same one before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from common import codec, frames
from common.conversations import Given, Turn
from common.errors import BadRequest, FleetError
from common.messages import ChatRequest, conversation
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.contexts import Room, room_of
from dispatcher.bridge.files.desk import Attached
from dispatcher.bridge.files.filed import Filed
from dispatcher.bridge.folding import Folding
from dispatcher.bridge.keeping import Begun, Json, Keeping, Said, as_sent, asked_turns
from dispatcher.bridge.memory.fitting import fitted
from dispatcher.bridge.memory.summary import recalled
from dispatcher.bridge.presence import Presence
from dispatcher.bridge.speech import as_asked
from dispatcher.bridge.threads import Thread, Threads

MARGIN_BYTES = 128 * 1024
"""For what a job has besides its messages, and for images that are to be made smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A chat with what stands in front of it; `asked` are the turns that are new with it. With a `refusal` nobody can be asked."""

    chat: ChatRequest
    asked: tuple[Turn, ...]
    facts: Json
    refusal: FleetError | None = None

    def sent(self, chat: ChatRequest) -> Told:
        """Give the same with its images as they were made to travel."""
        return replace(self, chat=chat, asked=as_sent(self.asked, self.chat, chat))


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembering:
    """Puts conversations around chats. Without `folding` nothing is summarised."""

    asking: Asking
    threads: Threads
    keeping: Keeping
    presence: Presence
    folding: Folding | None = None

    async def answered(
        self,
        chat: ChatRequest,
        caller: Caller,
        thread: Thread,
        attached: Sequence[Attached] = (),
        files_of: str | None = None,
    ) -> AsyncGenerator[frames.Frame, None]:
        """Give the frames of a chat's answer; what was said is kept before the last of them, once more where keeping it was
        interrupted. What is `attached` is read first: its text is a part of the question, and remembered with it, as is that of the
        files of the turn `files_of`. A refusal is a frame where its question is kept. Raises as `told`."""
        filed = Filed(chat=chat)
        if attached:
            filed, attached = await self.asking.filed(chat, caller, attached), ()
        if files_of is not None:
            filed = filed.with_files_of(await self._asked(thread, files_of))
        told = await self.told(filed.chat, caller, thread, filed.given)
        del filed  # that has the images as they came
        chat = replace(chat, prompt=None, messages=())  # that has what it says
        said, facts, begun = Said(), None, None

        def hand(sent: ChatRequest) -> None:
            nonlocal told
            told = told.sent(sent)  # what came is not kept for as long as the job waits and runs

        try:
            job = self.asking.frames(told.chat, caller, sent=hand)
            async with aclosing(_ended(job, told.refusal)) as source:
                async for frame in source:
                    said.hear(frame)
                    begun = begun or self._begun(told, thread, frame)
                    if isinstance(frame, frames.End | frames.Err):
                        facts = await self._kept(told, thread, said, begun)
                        frame = replace(frame, route={**(frame.route or {}), "conversation": facts})  # noqa: PLW2901
                    if isinstance(frame, frames.End):
                        self._fold(chat, caller, thread, said.note)
                    yield frame
        finally:
            if facts is None:
                await self._kept(told, thread, said, begun)

    async def told(self, chat: ChatRequest, caller: Caller, thread: Thread, given: Given | None = None) -> Told:
        """Put the conversation in front of a chat, as much as fits the largest context that its model has on any device. `given` is
        what its user gave of it.

        What an earlier answer still waits for the ledger with is kept first. Raises as `Threads.before`; what `fitted` raises is
        the refusal.
        """
        await self.keeping.settle(thread)
        new, room = conversation(chat), self._room(chat, caller)
        page = await self.threads.before(chat, thread, new, room, given)
        past = recalled(page.turns, page.summary)
        asked = asked_turns(chat, page.turns, new, given)
        try:
            found = fitted(past, new, chat, room, self.threads.most_bytes - MARGIN_BYTES)
        except FleetError as error:
            return Told(chat=chat, asked=asked, facts={"id": thread.id}, refusal=error)
        facts = {"id": thread.id, "told": len(found.messages), "left_out": found.left_out}
        if found.summarised:
            facts["summarised"] = True
        if given is not None:
            facts["files"] = [codec.plain(one) for one in given.files]
        told = replace(chat, prompt=None, messages=found.messages)
        return Told(chat=told, asked=asked, facts=facts)

    async def _asked(self, thread: Thread, turn: str) -> Turn:
        await self.keeping.settle(thread)  # it may wait for the ledger itself
        try:
            return await self.threads.asked(thread, turn)
        except BadRequest as error:
            raise as_asked(error, {"turn": "files_of"}) from error

    def _begun(self, told: Told, thread: Thread, frame: frames.Frame) -> Begun | None:
        """Have the question kept, which nobody waits for, unless its answer is over."""
        over = isinstance(frame, frames.End | frames.Err)
        return None if over else self.keeping.begin(told.chat, thread, told.asked)

    async def _kept(self, told: Told, thread: Thread, said: Said, begun: Begun | None) -> Json:
        asked = told.asked if begun is None else await begun.turns()
        return told.facts | await self.keeping.keep(told.chat, thread, asked, said)

    def _fold(self, chat: ChatRequest, caller: Caller, thread: Thread, note: frames.RouteNote | None) -> None:
        if self.folding is not None:
            model, tokens = chat.model if note is None else note.model, self._room(chat, caller).tokens
            self.folding.offer(caller, thread.owner, thread.id, model, tokens)

    def _room(self, chat: ChatRequest, caller: Caller) -> Room:
        return room_of(chat, caller, self.presence.fleet())


async def _ended(
    job: AsyncGenerator[frames.Frame, None], refusal: FleetError | None
) -> AsyncGenerator[frames.Frame, None]:
    """Give the frames of a job, the last of them terminal: what it is refused with becomes one too, as does a `refusal` before."""
    try:
        if refusal is not None:
            raise refusal
        async with aclosing(job) as source:
            async for frame in source:
                yield frame
    except FleetError as error:
        yield frames.Err(error)
