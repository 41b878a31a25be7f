"""Has the fleet summarise what conversations are about, when they outgrow their model's context; it knows no client.

A summary is a job like any other, of the lowest priority and in the name of whoever has the conversation; one that fails is tried
again after the next answer. It counts for the budgets of its key, and takes none of the jobs that this may have at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from ulid import ULID

from common import frames
from common.conversation_client import Conversations
from common.conversations import Owner
from common.errors import FleetError
from common.lifecycle import guarding
from common.logs import get_logger
from common.messages import ChatRequest, Options, Priority
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.memory.summary import SUMMARY_TOKENS, Fold, summary_of, summary_prompt, to_fold
from dispatcher.bridge.threads import CHARS_PER_TOKEN

log = get_logger("bridge")

MOST_AT_ONCE = 4
"""Summaries that are waited for; what comes meanwhile comes again with its next answer."""

WAIT_S = 600.0
"""A fleet that has no room for so long has none for this."""


class Folding:
    """Asks for summaries in the background. Open it with `folding`."""

    def __init__(self, asking: Asking, conversations: Conversations, group: asyncio.TaskGroup) -> None:
        self._asking = asking
        self._conversations = conversations
        self._spawn = guarding(group)
        self._under_way: dict[tuple[Owner, str], asyncio.Task[None]] = {}

    def offer(self, caller: Caller, owner: Owner, conversation: str, model: str, context_tokens: int) -> None:
        """Look whether a conversation is to be summarised now, by the model that has answered, and have that done."""
        name = (owner, conversation)
        if name in self._under_way or len(self._under_way) >= MOST_AT_ONCE:
            return
        task = self._spawn(self._fold(_uncounted(caller), owner, conversation, model, context_tokens))
        self._under_way[name] = task
        task.add_done_callback(lambda _: self._under_way.pop(name))

    def stop(self) -> None:
        """Give up what is not done."""
        for task in self._under_way.values():
            task.cancel()

    async def _fold(self, caller: Caller, owner: Owner, conversation: str, model: str, context_tokens: int) -> None:
        try:
            most_chars = context_tokens * CHARS_PER_TOKEN
            page = await self._conversations.history(owner, conversation, most_chars=most_chars, most_images=0)
            fold = to_fold(page.turns, page.summary, context_tokens=context_tokens)
            if fold is None:
                return
            summary = summary_of(fold, await self._written(caller, fold, model, context_tokens))
            if summary is not None:
                await self._conversations.summarise(owner, conversation, summary)
                log.info("conversation.summarised", turns=len(fold.turns), model=model)
        except FleetError as error:
            log.info("conversation.unsummarised", error=error.code)

    async def _written(self, caller: Caller, fold: Fold, model: str, context_tokens: int) -> str:
        asked = ChatRequest(
            messages=summary_prompt(fold, context_tokens=context_tokens),
            model=model,
            hold=True,
            stream=True,
            job=str(ULID()),
            resends=0,
            options=Options(max_tokens=SUMMARY_TOKENS),
            priority=Priority.BATCH,
            timeout_s=WAIT_S,
        )
        said: list[str] = []
        async with aclosing(self._asking.frames(asked, caller)) as source:
            async for frame in source:
                if isinstance(frame, frames.Token):
                    said.append(frame.text)
                elif isinstance(frame, frames.Err):
                    raise frame.error
        return "".join(said)


def _uncounted(caller: Caller) -> Caller:
    """Give a caller whose jobs are not counted: a summary may wait for minutes, and nobody but the bridge has asked for it."""
    return caller if caller.grant is None else replace(caller, grant=replace(caller.grant, parallel=None))


@asynccontextmanager
async def folding(asking: Asking, conversations: Conversations) -> AsyncIterator[Folding]:
    """Summarise for the life of the context."""
    async with asyncio.TaskGroup() as group:
        found = Folding(asking, conversations, group)
        try:
            yield found
        finally:
            found.stop()
