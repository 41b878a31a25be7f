"""A file that is written while it is read: a conversation from the ledger, or rows of an experiment; it knows no database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common import codec
from common.conversations import Exported
from common.errors import FleetError
from common.logs import get_logger
from dispatcher.bridge.gate.recalls import Bind, unrecalled
from dispatcher.bridge.memory.markdown import heading, pieces
from dispatcher.bridge.sse import Curfew, ReaderStalled, Stream, while_connected

log = get_logger("bridge")

FORMS = {
    "json": ("application/json", "json"),
    "markdown": ("text/markdown; charset=utf-8", "md"),
    "csv": ("text/csv; charset=utf-8", "csv"),
    "jsonl": ("application/x-ndjson", "jsonl"),
}
"""What a file is, and how its name ends, by what is asked for."""

Pages = AsyncGenerator[Exported, None]


class Download(Response):
    """A file that is written while it is read: a conversation, or a table, may be larger than all else that a bridge holds.
    It ends with its key."""

    def __init__(
        self,
        written: AsyncGenerator[bytes, None],
        name: str,
        form: str,
        curfew: Curfew,
        *,
        recalls: Bind = unrecalled,
    ) -> None:
        super().__init__()
        self._recalls = recalls
        self._written = written
        self._curfew = curfew
        self._kind, ending = FORMS[form]
        self._disposition = f'attachment; filename="{name}.{ending}"'.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as ASGI calls it
        await while_connected(receive, self._send(Stream(send)))

    async def _send(self, out: Stream) -> None:
        try:
            async with asyncio.timeout(None) as limit, aclosing(self._written) as written:
                with self._curfew.bind(limit), self._recalls(limit):
                    await out.start([(b"content-disposition", self._disposition)], self._kind)
                    async for piece in written:
                        await out.put(piece)
                    await out.close()
        except (ReaderStalled, FleetError, TimeoutError) as error:
            # A file that is cut off has no end, as its reader sees.
            log.warning("http.download", error=type(error).__name__)


async def as_json(first: Exported, rest: Pages) -> AsyncGenerator[bytes, None]:
    """Write one object, piece by piece."""
    async with aclosing(rest):
        yield b'{"conversation":' + codec.encode(codec.plain(first.conversation)) + b',"turns":['
        separator = b""
        async for page in _all(first, rest):
            for turn in page.turns:
                yield separator + codec.encode(codec.plain(turn))
                separator = b","
        yield b"]}"


async def as_markdown(first: Exported, rest: Pages) -> AsyncGenerator[bytes, None]:
    """Write what people read, turn by turn."""
    async with aclosing(rest):
        yield heading(first.conversation).encode()
        async for page in _all(first, rest):
            for piece in pieces(page.turns):
                yield piece.encode()


async def _all(first: Exported, rest: Pages) -> Pages:
    yield first
    async for page in rest:
        yield page
