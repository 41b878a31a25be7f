"""One stream of events; what it tells, the feed knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common import codec
from common.errors import FleetError, Stopping
from common.logs import get_logger
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.gate import Gate
from dispatcher.bridge.live.feed import STEADY_S, Feed
from dispatcher.bridge.live.hub import Hub
from dispatcher.bridge.sse import Curfew, ReaderStalled, Stream, event, while_connected

log = get_logger("live")


class LiveStream(Response):
    """What happens, from now on. Nothing waits for a slow reader: it is told what is so when it can take it."""

    def __init__(self, hub: Hub, gate: Gate, curfew: Curfew, caller: Caller, kinds: Sequence[str]) -> None:
        super().__init__()
        self._hub = hub
        self._gate = gate
        self._curfew = curfew
        self._caller = caller
        self._kinds = kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as ASGI calls it
        with self._hub.watching(self._caller, self._kinds) as feed:  # refuses, while that can still be said
            await while_connected(receive, self._told(feed, Stream(send)))

    async def _told(self, feed: Feed, out: Stream) -> None:
        why: FleetError = Stopping("the bridge is stopping: come again", retry_after_s=1.0)
        try:
            await out.start([])
            async with asyncio.timeout(None) as limit:
                with self._curfew.bind(limit), self._hub.closing.bind(limit):
                    why = await self._follow(feed, out)
        except TimeoutError:
            pass  # the bridge stops
        except ReaderStalled:
            log.info("live.stalled", user=self._caller.user)
            return
        await out.close(event(codec.encode({"error": why.to_wire()}), name="end"))

    async def _follow(self, feed: Feed, out: Stream) -> FleetError:
        """Tell what is new at each turn until the caller may not hear it any more; gives why. Raises `ReaderStalled`."""
        parts = feed.parts(self._caller, self._kinds)
        await out.put(event(codec.encode(self._hello()), name="hello"))
        while True:
            turn = feed.turn  # before the look: none is missed
            why = await self._gate.changed(self._caller)
            if why is not None:
                return why
            await out.put(b"".join(part.news() for part in parts))
            await turn.wait()

    def _hello(self) -> dict[str, Any]:
        """Say what will be told, and how ids of the caller's own jobs end."""
        caller = self._caller
        return {"events": self._kinds, "tenant": caller.tenant, "own": caller.mark, "steady_s": STEADY_S}
