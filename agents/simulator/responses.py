"""Sends answers while watching whether the client is still there; it does not know what is answered.

Work is cancelled as soon as the client hangs up, for streams and for answers in one piece alike: a server that finds out
only when it writes would decode a whole answer for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.simulator import wire
from agents.simulator.errors import ConnectionCut, Refused
from agents.simulator.wire import BROKEN_LINE, Line, Whole

Lines = AsyncGenerator[Line]
Join = Callable[[Sequence[Line]], Line]

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"
_MALFORMED = b'{"model":"simulated","created_at":"20'


class JsonResponse(Response):
    """An answer in one piece."""

    def __init__(self, value: object, status: int = 200) -> None:
        super().__init__(wire.encode(value), status_code=status, headers={"content-type": JSON})


def refusal(error: Refused) -> JsonResponse:
    """Give the answer to a refused request."""
    return JsonResponse(wire.error(error.message), error.status)


class LinesResponse(Response):
    """Lines as they come, or, with `join`, all of them in one answer. `on_hang_up` is called when the client left early."""

    def __init__(self, lines: Callable[[], Lines], *, join: Join | None, on_hang_up: Callable[[], None]) -> None:
        super().__init__()
        self._lines = lines
        self._join = join
        self._on_hang_up = on_hang_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, or stop when the client hangs up."""

        async def work() -> None:
            async with aclosing(self._lines()) as lines:
                answer = await (_stream(lines, send) if self._join is None else _collect(lines, self._join, send))
            if answer is not None:
                await answer(scope, receive, send)

        if not await unless_hung_up(receive, work):
            self._on_hang_up()


async def unless_hung_up(receive: Receive, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Run `work`, cancelling it when the client hangs up; tell whether it came to its end."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        watcher = group.create_task(_cancel_on_disconnect(receive, task))
        task.add_done_callback(lambda _: watcher.cancel())
    return not task.cancelled()


async def _cancel_on_disconnect(receive: Receive, task: asyncio.Task[None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


async def _stream(lines: Lines, send: Send) -> Response | None:
    """Send line by line. Give a response instead when it turns out, before the first line, that there is no stream."""
    started = False
    try:
        async for line in lines:
            if not started:
                await _start(send, NDJSON)
                started = True
            await _write(send, _MALFORMED if line is BROKEN_LINE else wire.encode(line))
    except Whole as whole:
        return JsonResponse(whole.value)
    except Refused as error:
        if not started:
            return refusal(error)
        await _write(send, wire.encode(wire.error(error.message)))
    except ConnectionCut:
        # Returning without the closing chunk makes the server drop the connection, as a crash does.
        if not started:
            await _start(send, NDJSON)
        return None
    await send({"type": "http.response.body", "body": b""})
    return None


async def _collect(lines: Lines, join: Join, send: Send) -> Response | None:
    """Wait for all lines and answer with one object."""
    kept: list[Line] = []
    try:
        async for line in lines:
            kept.append(line)  # noqa: PERF401 - the lines before a failure must be dropped, not returned
    except Whole as whole:
        return JsonResponse(whole.value)
    except Refused as error:
        return refusal(error)
    except ConnectionCut:
        # A length that is never reached: the server drops the connection, and the client sees it cut.
        await _start(send, JSON, content_length=4096)
        return None
    if any(line is BROKEN_LINE for line in kept):
        return Response(_MALFORMED, headers={"content-type": JSON})
    return JsonResponse(join(kept))


def _start(send: Send, content_type: str, content_length: int | None = None) -> Awaitable[None]:
    headers = [(b"content-type", content_type.encode())]
    if content_length is not None:
        headers.append((b"content-length", str(content_length).encode()))
    return send({"type": "http.response.start", "status": 200, "headers": headers})


def _write(send: Send, line: bytes) -> Awaitable[None]:
    return send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
