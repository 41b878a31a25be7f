"""The measuring itself: lap after lap through a target, closed or at random arrivals; rows go out as conversations end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from common.errors import FleetError
from common.messages import AUTO, Message, Role
from dispatcher.lab.bench.plan import Arm, Arrival, Asked, BenchPlan, Lap, gaps_s
from dispatcher.lab.bench.rows import BenchRow, Key, answered, asked_row, failed
from dispatcher.lab.bench.target import Target

WARM_UP_TOKENS = 16
MOST_WARMED = 64
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

    async def run(self, known: set[Key]) -> None:
        """Measure what is not known yet."""
        for lap in self.plan.laps():
            left = tuple(one for one in lap.order if not self._done(lap, one, known))
            if left:
                await self._lap(replace(lap, order=left))

    async def warm_up(self) -> int:
        """Have each model on each device answer once, so that all have measured themselves; gives how many there were.

        Raises `FleetError` when nobody is there.
        """
        told = await self.target.explain("least_loaded")
        pairs = sorted({(one["device"], one["model"]) for one in told.get("options") or ()})[:MOST_WARMED]
        by_device: dict[str, list[str]] = {}
        for device, model in pairs:
            by_device.setdefault(device, []).append(model)
        async with asyncio.TaskGroup() as tasks:
            for device, models in by_device.items():
                tasks.create_task(self._warm(device, models))
        return len(pairs)

    async def _warm(self, device: str, models: Sequence[str]) -> None:
        for model in models:
            fields = {"model": f"{model}@{device}", "options": {"max_tokens": WARM_UP_TOKENS}}
            try:
                await self.target.ask((Message(role=Role.USER, content="Count to ten, please."),), fields)
            except FleetError:
                continue  # a model that can't be had will show in the rows

    def _done(self, lap: Lap, one: Asked, known: set[Key]) -> bool:
        turns = range(1, len(one.conversation.questions) + 1)
        return all(asked_row(lap.arm, lap.repeat, one, turn, time_factor=1.0).key in known for turn in turns)

    async def _lap(self, lap: Lap) -> None:
        if self.plan.load.arrival is Arrival.CLOSED:
            await self._closed(lap)
        else:
            await self._poisson(lap)

    async def _closed(self, lap: Lap) -> None:
        waiting = iter(lap.order)

        async def work() -> None:
            for one in waiting:  # shared: each takes the next one
                await self._converse(lap, one)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self.plan.load.concurrency, len(lap.order))):
                tasks.create_task(work())

    async def _poisson(self, lap: Lap) -> None:
        due_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for one, gap_s in zip(lap.order, gaps_s(lap, self.plan.load, self.plan.seed), strict=True):
                due_s += gap_s / self.time_factor
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                tasks.create_task(self._converse(lap, one))

    async def _converse(self, lap: Lap, one: Asked) -> None:
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
            row, text, cause = await self._ask(row, lap.arm, one, history)
            broken = turn if cause is not None else 0
            history.append(Message(role=Role.ASSISTANT, content=text))
            rows.append(row)
        self.tell(rows)

    async def _ask(
        self, row: BenchRow, arm: Arm, one: Asked, history: Sequence[Message]
    ) -> tuple[BenchRow, str, FleetError | None]:
        row, began_s = replace(row, began_unix_s=time.time()), time.monotonic()
        try:
            heard = await self.target.ask(tuple(history), self._fields(arm, one))
        except FleetError as error:
            return failed(row, error, time.monotonic() - began_s), "", error
        latency_s = time.monotonic() - began_s
        return answered(row, await self.target.why(heard), latency_s), heard.text, None

    def _fields(self, arm: Arm, one: Asked) -> dict[str, Any]:
        options: dict[str, Any] = {"seed": self.plan.seed}
        if self.plan.max_tokens is not None:
            options["max_tokens"] = self.plan.max_tokens
        fields: dict[str, Any] = {
            "model": one.conversation.model or AUTO,
            "strategy": arm.strategy,
            "options": options,
        }
        if self.plan.timeout_s is not None:
            fields["timeout_s"] = self.plan.timeout_s / self.time_factor
        return fields
