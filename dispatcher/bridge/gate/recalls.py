"""Ends the answers of a key that is gone while they run; it knows no API, and asks whoever knows keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from common.errors import FleetError, Unauthorized
from common.keys import Grant, Presented
from common.lifecycle import guarding
from common.logs import get_logger
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.gate.grants import Grants

log = get_logger("gate")

AGAIN_S = 1.0
"""So long after a ledger did not answer it is asked again, for as long as an answer runs."""


@dataclass(slots=True, eq=False)
class Recall:
    """What may end one answer: `why` is set before its scope expires."""

    why: FleetError | None = None


Bind = Callable[[asyncio.Timeout], AbstractContextManager[Recall]]
"""Has a scope expire when the key of an answer is gone."""


def unrecalled(_: asyncio.Timeout) -> AbstractContextManager[Recall]:
    """Have nothing end an answer, as where there are no keys."""
    return nullcontext(Recall())


@dataclass(slots=True, eq=False)
class _Running:
    shown: Presented
    grant: Grant
    scope: asyncio.Timeout
    recall: Recall

    def hangs_on(self, key: str) -> bool:
        """Tell whether a key's change concerns it: a session's own, and its parent's."""
        return key in {self.shown.id, self.grant.key}


class Recalls:
    """Knows what runs, and for which key. Open it with `watching`."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants
        self._running: set[_Running] = set()
        self._spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]] | None = None
        self._looking: dict[Presented, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Heed changes for the life of the context."""
        async with asyncio.TaskGroup() as group:
            self._spawn = guarding(group)
            forget = self._grants.on_change(self._changed)
            try:
                yield
            finally:
                forget()
                self._spawn = None
                for task in self._looking.values():
                    task.cancel()

    @contextmanager
    def bind(self, caller: Caller, scope: asyncio.Timeout) -> Iterator[Recall]:
        """Let `scope` expire when the caller's key is gone; without a key nothing is. A change may have come while the request's
        body did: what is not remembered any more is looked at now."""
        recall = Recall()
        if caller.grant is None or caller.shown is None:
            yield recall
            return
        running = _Running(caller.shown, caller.grant, scope, recall)
        self._running.add(running)
        if not self._grants.remembers(caller.shown):
            self._look(caller.shown)
        try:
            yield recall
        finally:
            self._running.discard(running)

    def _changed(self, key: str) -> None:
        for shown in {one.shown for one in self._running if one.hangs_on(key)}:
            self._look(shown)

    def _look(self, shown: Presented) -> None:
        """Look whether a key is still good, anew where that is being asked: the answer may be of before."""
        if self._spawn is None:
            return
        if shown in self._looking:
            self._looking[shown].cancel()
        task = self._looking[shown] = self._spawn(self._asked(shown))
        task.add_done_callback(lambda done: self._looking.get(shown) is done and self._looking.pop(shown))

    async def _asked(self, shown: Presented) -> None:
        while any(one.shown == shown for one in self._running):
            try:
                await self._grants.again(shown)
            except Unauthorized as error:
                self._end(shown, error)
            except FleetError as error:
                log.warning("gate.unasked", key=shown.id, error=error.code)
                await asyncio.sleep(AGAIN_S)
                continue
            return

    def _end(self, shown: Presented, error: Unauthorized) -> None:
        why = f"the answer ends here, since its key is no longer good: {error.message}"
        ended = [one for one in self._running if one.shown == shown]
        for one in ended:
            one.recall.why = Unauthorized(why)
            one.scope.reschedule(asyncio.get_running_loop().time())
        log.info("gate.recalled", key=shown.id, answers=len(ended))
