"""The record: one frozen value per job, and the sinks that it goes to. A failing sink is logged and skipped."""

from __future__ import annotations

from typing import Protocol

from common.logs import get_logger
from dispatcher.outcomes import JobRecord

_log = get_logger("record")  # not `log`: importing the submodule of that name would replace it


class Sink(Protocol):
    """Takes each record once."""

    async def write(self, record: JobRecord) -> None: ...


class Recorder:
    """Hands each record to every sink."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """Give it the records from now on, after the others."""
        self._sinks.append(sink)

    async def write(self, record: JobRecord) -> None:
        for sink in self._sinks:
            try:
                await sink.write(record)
            except Exception as error:  # noqa: BLE001  # a sink of any make must not fail a job
                # Answering jobs matters more than writing them down; each sink says itself what it lost.
                _log.warning("record.sink_failed", sink=type(sink).__name__, job=record.job, error=repr(error))
