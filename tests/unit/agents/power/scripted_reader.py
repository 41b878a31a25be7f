"""A power reader that does what a test says."""

from __future__ import annotations

import asyncio

from agents.power import Reading
from common.clock import loop_s


class ScriptedReader:
    """Tells `watts`, or raises `fault` while there is one, or says nothing while `hangs`; counts how often it was read and
    closed."""

    def __init__(self, name: str, watts: float = 1.0, *, fault: Exception | None = None, hangs: bool = False) -> None:
        self.name = name
        self.watts = watts
        self.fault = fault
        self.hangs = hangs
        self.reads = 0
        self.closed = 0

    async def read(self) -> Reading:
        self.reads += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        return Reading(
            at_s=loop_s(), watts=self.watts, rail=self.name, source=self.name, measured=True, uncertainty=0.1
        )

    async def close(self) -> None:
        self.closed += 1
