"""The measuring itself: lap after lap through a target, closed or at random arrivals; rows go out as conversations end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.errors import BusDisconnected, BusError, FleetError, GarbledReply, NoDispatcher
from common.messages import AUTO, Message, Role
from dispatcher.lab.bench.plan import Arm, Arrival, Asked, BenchPlan, CacheMode, Lap, gaps_s
from dispatcher.lab.bench.rows import BenchRow, Key, answered, asked_row, begun, failed
from dispatcher.lab.bench.target import Target
from dispatcher.lab.bench.warming import warm_up

_MAY_BE_GONE = (BusError, NoDispatcher, GarbledReply)
Tell = Callable[[Sequence[BenchRow]], None]
"""Called with the rows of a conversation when it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A plan and whom it is carried out on. `time_factor` is how much faster than life the fleet is; seconds of the plan are the
    fleet's own."""

    plan: BenchPlan
    target: Target
    time_factor: float
    tell: Tell
    warm_up: bool = False
    warn: Callable[[str], None] = lambda _: None
    """Called with what a reader of the figures must know."""
    epoch_s: float = field(default_factory=lambda: time.time() - time.monotonic())
    """When the clock that waits are read off was 0."""

    async def run(self, known: set[Key]) -> None:
        """Measure what is not known yet. Raises `BusDisconnected` when the fleet does not answer any more: a conversation that is
        under way then is not told of, since that nobody was there says nothing of a strategy."""
        for lap in self.plan.laps():
            gaps = zip(lap.order, gaps_s(lap, self.plan.load, self.plan.seed), strict=True)
            left = [(one, gap_s) for one, gap_s in gaps if not self._done(lap, one, known)]
            if left:
                if self.warm_up:
                    await warm_up(
                        self.target
                    )  # each arm begins with the same models loaded, whatever the one before left
                if lap.arm.cache is CacheMode.ON:
                    await self._empty_cache(lap, begun=len(left) < len(lap.order))
                await self._lap(lap, left)

    async def _empty_cache(self, lap: Lap, *, begun: bool) -> None:
        """See to it that each repeat finds what it put there itself. One that was begun in a run before goes on with what the fleet
        has kept of it; a fleet of the bench's own has nothing."""
        which = f"{lap.arm.name}, repeat {lap.repeat}"
        if begun:
            self.warn(
                f"{which}, goes on with what the fleet still keeps of its first part: it may miss what that had asked"
            )
            return
        try:
            await self.target.forget()
        except FleetError as error:
            self.warn(f"{which}: the cache could not be emptied, and may have answers from before ({error.message})")

    def _done(self, lap: Lap, one: Asked, known: set[Key]) -> bool:
        turns = range(1, len(one.conversation.questions) + 1)
        return all(asked_row(lap.arm, lap.repeat, one, turn, time_factor=1.0).key in known for turn in turns)

    async def _lap(self, lap: Lap, left: Sequence[tuple[Asked, float]]) -> None:
        try:
            if self.plan.load.arrival is Arrival.CLOSED:
                await self._closed(lap, [one for one, _ in left])
            else:
                await self._poisson(lap, left)
        except ExceptionGroup as group:
            raise _first(group) from group

    async def _closed(self, lap: Lap, left: Sequence[Asked]) -> None:
        waiting = iter(left)

        async def work() -> None:
            for one in waiting:  # shared: each takes the next one
                await self._converse(lap, one, None)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self.plan.load.concurrency, len(left))):
                tasks.create_task(work())

    async def _poisson(self, lap: Lap, left: Sequence[tuple[Asked, float]]) -> None:
        due_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for one, gap_s in left:
                due_s += gap_s / self.time_factor
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                tasks.create_task(self._converse(lap, one, due_s))

    async def _converse(self, lap: Lap, one: Asked, due_s: float | None) -> None:
        """Ask the questions of a conversation in turn; after a failure the others fail too, since what they refer to is missing."""
        history: list[Message] = []
        rows: list[BenchRow] = []
        cause: FleetError | None = None
        broken = 0
        for turn, question in enumerate(one.conversation.questions, start=1):
            row = asked_row(lap.arm, lap.repeat, one, turn, time_factor=self.time_factor)
            if cause is not None:
                rows.append(failed(row, type(cause)(f"not asked, since turn {broken} failed"), None))
                continue
            history += question.messages
            row, text, cause = await self._ask(row, one, history, due_s if turn == 1 else None)
            broken = turn if cause is not None else 0
            history.append(Message(role=Role.ASSISTANT, content=text))
            rows.append(row)
        self.tell(rows)

    async def _ask(
        self, row: BenchRow, one: Asked, history: Sequence[Message], due_s: float | None
    ) -> tuple[BenchRow, str, FleetError | None]:
        """Put one question. Where it was due at a moment, the clock runs from then: a bench that is late would else hide a wait."""
        began_s = time.monotonic()
        since_s = began_s if due_s is None else due_s
        row = begun(row, lag_s=None if due_s is None else began_s - due_s, unix_s=self.epoch_s + began_s)
        try:
            heard = await self.target.ask(tuple(history), self._fields(row.arm, one))
        except FleetError as error:
            latency_s = time.monotonic() - since_s
            if isinstance(error, _MAY_BE_GONE):
                await self._require_alive(error)
            return failed(row, error, latency_s), "", error
        latency_s = time.monotonic() - since_s
        return answered(row, await self.target.why(heard), latency_s), heard.text, None

    async def _require_alive(self, cause: FleetError) -> None:
        """Raise `BusDisconnected` unless the fleet still answers: then it is the question that failed."""
        try:
            await self.target.explain("least_loaded")
        except _MAY_BE_GONE as error:
            raise BusDisconnected(
                f"the fleet does not answer any more ({cause.message}): what was measured before is kept, and the same command "
                "goes on there"
            ) from error
        except FleetError:
            return  # it is there, and has no room

    def _fields(self, arm: Arm, one: Asked) -> dict[str, Any]:
        options: dict[str, Any] = {"seed": self.plan.seed}
        if self.plan.max_tokens is not None:
            options["max_tokens"] = self.plan.max_tokens
        fields: dict[str, Any] = {
            "model": one.conversation.model or AUTO,
            "strategy": arm.strategy,
            "cache": str(arm.cache.wish),
            "options": options,
        }
        if self.plan.timeout_s is not None:
            fields["timeout_s"] = self.plan.timeout_s / self.time_factor
        return fields


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Give the error that ended a group of tasks."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
