"""How a connection ends when the bridge does: after a last answer that says so, never under a request; it knows no route."""

from __future__ import annotations

import asyncio
import select

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEEP_ALIVE_S = 75
"""Longer than clients keep a connection that is not used (httpx and openai: 5 s), so that it is they who let it go: where both
wait equally long, a request can meet the close half way."""

LINGER_S = 1
"""A connection is left open so long after its last answer, or its beginning, for a request that may be on its way to a bridge
that stops. It is answered with `Connection: close`."""


class Connection(HttpToolsProtocol):
    """uvicorn's, which at a stop would close what is between two requests, and what has not sent its first."""

    _stopping = False
    _quiet_since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a new connection; called by the loop."""
        self._quiet_since_s = self.loop.time()
        super().connection_made(transport)

    def on_headers_complete(self) -> None:
        """Take a request; called by the parser."""
        super().on_headers_complete()
        if self._stopping and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Be open for the next request; called at the end of an answer."""
        self._quiet_since_s = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        """End with the answer that has not begun, or else with the next one, or unused; called once, at the stop."""
        self._stopping = True
        self.timeout_keep_alive = LINGER_S
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # before the first request
            if (
                not self.cycle.response_started
            ):  # else it has told its client that the connection stays: the next one says no
                self.cycle.keep_alive = False
            return
        self._unset_keepalive_if_required()
        left_s = max(0.0, self._quiet_since_s + LINGER_S - self.loop.time())
        self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used, but not one whose next request has come and is not read yet."""
        if not _has_something(self.transport):
            super().timeout_keep_alive_handler()


def _has_something(transport: asyncio.Transport) -> bool:
    number = transport.get_extra_info("socket").fileno()
    if number < 0:
        return False
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
