"""Attempts that have ended while the engine still works for them: it holds their slots until the engine lets go.

Ollama notices that its client hung up when it sends the first token (ollama/ollama#11889), and nothing tells when that is. So
a request that is given up before its first piece stays open: the piece is the sign, and closing the stream then stops the
engine within a token. A model that is being loaded is so loaded to the end; the next job may want it. It knows no frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass

from agents.backends import Piece
from agents.liveness import EngineLiveness
from common.clock import Clock
from common.errors import FleetError
from common.logs import get_logger

log = get_logger("leftovers")

CLOSE_S = 2.0
"""How long closing a stream may take before its task is left to end by itself."""


class Opening:
    """The first piece of an answer, waited for in a task of its own, so that the wait can outlive the attempt."""

    def __init__(self, pieces: AsyncGenerator[Piece, None], group: asyncio.TaskGroup) -> None:
        self.pieces = pieces
        self._task = group.create_task(_first(pieces))

    async def first(self) -> Piece | None:
        """Give the first piece, or None for an answer without any; raises what the backend raised. Cancelling it leaves the
        wait as it is."""
        return _opened(await asyncio.shield(self._task))

    async def to_the_end(self) -> Piece | None:
        """The same, but cancelling it hangs up."""
        return _opened(await self._task)

    async def hang_up(self) -> None:
        """Stop waiting, and close the stream."""
        self._task.cancel()
        await asyncio.wait([self._task], timeout=CLOSE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What is left of an attempt. `held` frees its slot; `patience_s` is when its silence, since `since_s`, is a fault."""

    job: str
    model: str
    opening: Opening
    held: ExitStack
    since_s: float
    patience_s: float


class Leftovers:
    """Those of one worker. `ended` is called when one is gone, and must return at once."""

    def __init__(
        self, group: asyncio.TaskGroup, liveness: EngineLiveness, *, clock: Clock, ended: Callable[[], None]
    ) -> None:
        self.closed = False
        self._group = group
        self._liveness = liveness
        self._clock = clock
        self._ended = ended
        self._tasks: dict[asyncio.Task[None], Leftover] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def since_s(self) -> list[float]:
        """When the requests were sent, in monotonic seconds."""
        return [left.since_s for left in self._tasks.values()]

    @property
    def fault(self) -> str | None:
        """Say that the engine has been silent for too long on one of them."""
        for left in self._tasks.values():
            if self._is_overdue(left):
                return f"its engine has been silent on {left.model} for more than {left.patience_s:.0f} s: restart it"
        return None

    @property
    def overdue(self) -> int:
        """Count those on which it has been silent for too long."""
        return sum(self._is_overdue(left) for left in self._tasks.values())

    def _is_overdue(self, left: Leftover) -> bool:
        return self._liveness.silent_s(left.since_s) > left.patience_s

    def keep(self, left: Leftover) -> None:
        """Hold the slot until the engine is done with this one."""
        log.debug("leftover.kept", job=left.job, model=left.model)
        task = self._group.create_task(self._await_end(left))
        self._tasks[task] = left
        task.add_done_callback(self._forget)

    def close(self) -> None:
        """Hang up on all of them, and keep none from now on: the agent goes."""
        self.closed = True
        for task in self._tasks:
            task.cancel()

    async def _await_end(self, left: Leftover) -> None:
        with left.held, self._noted(left):
            async with aclosing(left.opening.pieces):
                await left.opening.to_the_end()
                self._liveness.beat()

    @contextmanager
    def _noted(self, left: Leftover) -> Iterator[None]:
        """Nobody waits for this answer: its error is a line in the log, and, after a silence beyond measure, a doubt."""
        try:
            yield
        except FleetError as error:
            log.info("leftover.failed", job=left.job, code=error.code, error=error.message)
            if self._is_overdue(left):
                self._liveness.doubt(f"its engine never answered a job on {left.model} ({error.message})")
        except Exception:
            log.exception("leftover.crashed", job=left.job)

    def _forget(self, task: asyncio.Task[None]) -> None:
        left = self._tasks.pop(task)
        left.held.close()  # a task that was cancelled before its first step has freed nothing
        log.debug("leftover.gone", job=left.job, silent_s=round(self._clock.monotonic() - left.since_s, 3))
        self._ended()


async def _first(pieces: AsyncGenerator[Piece, None]) -> Piece | Exception | None:
    """Wait for it. An error is given, not raised: a task that raises would end all others of its group."""
    try:
        return await anext(pieces, None)
    except Exception as error:  # noqa: BLE001 - raised again by whoever waits
        return error


def _opened(outcome: Piece | Exception | None) -> Piece | None:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
