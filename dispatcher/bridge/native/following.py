"""What happens to a durable job, told as server-sent events while a client listens; it knows no path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import replace
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common import codec
from common.durable import Note
from common.durable_client import DurableJobs, Event
from common.errors import BadRequest
from common.logs import get_logger
from dispatcher.bridge.gate.recalls import Bind, unrecalled
from dispatcher.bridge.headers import JOB_HEADER, header_text
from dispatcher.bridge.sse import COMMENT, Curfew, ReaderStalled, Stream, event, while_connected

log = get_logger("bridge")

COMMENT_S = 15.0
"""A job may lie in the queue for hours: proxies end a connection that is silent for half a minute or more."""


class JobEvents(Response):
    """The notes of one job as they come, each with its number in the stream: `Last-Event-ID` goes on behind it. `counted` is
    entered while they are read."""

    def __init__(
        self,
        durable: DurableJobs,
        job: str,
        after: int,
        curfew: Curfew,
        *,
        tenant: str,
        recalls: Bind = unrecalled,
        counted: AbstractContextManager[None] | None = None,
        comment_s: float = COMMENT_S,
    ) -> None:
        super().__init__()
        self._durable = durable
        self._job = job
        self._after = after
        self._curfew = curfew
        self._tenant = tenant
        self._recalls = recalls
        self._counted = counted or nullcontext()
        self._comment_s = comment_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as ASGI calls it
        with self._counted:  # which refuses one too many, while that can still be said
            await while_connected(receive, self._follow(Stream(send)))

    async def _follow(self, out: Stream) -> None:
        try:
            await out.start([(JOB_HEADER.encode(), header_text(self._job).encode())])
            async with (
                asyncio.timeout(None) as limit,
                aclosing(self._durable.events(self._job, after=self._after, tenant=self._tenant)) as events,
            ):
                with self._curfew.bind(limit), self._recalls(limit):
                    await self._tell(events, out)
        except TimeoutError:
            pass  # the bridge stops, or the key is gone: who comes again, with the number of the last event, learns which
        except ReaderStalled:
            log.info("http.job_events", job=self._job, outcome="reader_stalled")
            return
        await out.close()

    async def _tell(self, events: AsyncIterator[Event], out: Stream) -> None:
        """Send the events, and comments while there is none. Raises `ReaderStalled`."""
        stalled = False
        try:
            async with asyncio.TaskGroup() as tasks:
                comments = tasks.create_task(self._comment(out))
                async for one in events:
                    await out.put(event(codec.encode(card(one.note)), number=one.seq, name=str(one.note.state)))
                comments.cancel()
        except* ReaderStalled:
            stalled = True
        if stalled:
            raise ReaderStalled

    async def _comment(self, out: Stream) -> None:
        while True:
            await asyncio.sleep(self._comment_s)
            await out.put(COMMENT)


def card(note: Note) -> dict[str, Any]:
    """Say how far a job is."""
    wire = codec.plain(replace(note, fingerprint=None))  # it is between producers and dispatchers
    return {"id": wire.pop("job"), "object": "job", **wire}


def last_event(headers: Mapping[str, str]) -> int:
    """Give the number of the last event that a client has seen; 0 for none. Raises `BadRequest`."""
    given = headers.get("last-event-id", "0")
    if not (given.isascii() and given.isdecimal() and len(given) < 19):
        raise BadRequest(
            f"Last-Event-ID {given[:40]!r} is no number of an event: leave it out to begin at the first",
            param="Last-Event-ID",
        )
    return int(given)
