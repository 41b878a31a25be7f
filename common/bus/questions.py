"""Requests over a bus: the private reply subjects of one connection, and who waits for what; it knows no vendor.

The vendor's own request makes a random token, a closure and a wrapped wait for each question, and two first questions
at the same time both subscribe. Here one subscription and a dictionary serve all.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping
from typing import Protocol

from common import errors
from common.bus import Delivery


class Publish(Protocol):
    """`Bus.publish`."""

    async def __call__(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None: ...


class Questions:
    """The open requests of one bus. Its owner subscribes `on_answer` to `pattern`."""

    def __init__(self, inbox_prefix: str) -> None:
        self._root = f"{inbox_prefix}.{secrets.token_hex(11)}"
        self._numbers = itertools.count(1)
        self._open: dict[str, asyncio.Future[Delivery | None]] = {}

    @property
    def pattern(self) -> str:
        """What the answers come to. Inboxes have one token more."""
        return f"{self._root}.*"

    def new_inbox(self) -> str:
        """Give a reply subject below this connection's own, which `pattern` does not hear."""
        return f"{self._root}.i.{next(self._numbers)}"

    async def ask(
        self, publish: Publish, subject: str, data: bytes, timeout_s: float, headers: Mapping[str, str] | None
    ) -> Delivery:
        """Publish and wait for the first answer. Raises `NoResponders`, `NotPermitted`, `BusTimeout`, `BusDisconnected`."""
        token = str(next(self._numbers))
        future: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()
        self._open[token] = future
        try:
            await publish(subject, data, reply=f"{self._root}.{token}", headers=headers)
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError as error:
            raise errors.BusTimeout(f"no reply on {subject!r} within {timeout_s:g} s") from error
        finally:
            del self._open[token]
        if answer is None:
            raise errors.BusDisconnected(f"the connection was lost while waiting for a reply on {subject!r}")
        if answer.no_responders:
            raise errors.NoResponders(f"nobody listens on {subject!r}")
        if answer.refused:
            raise errors.NotPermitted(answer.refused, subject=subject)
        return answer

    def on_answer(self, delivery: Delivery) -> None:
        """Give an answer to whoever asked; one that comes too late, or a second one, is ignored."""
        future = self._open.get(delivery.subject[len(self._root) + 1 :])
        if future is not None and not future.done():
            future.set_result(delivery)

    def abandon(self) -> None:
        """Let all who wait raise `BusDisconnected`: the connection is lost, and with it the answers."""
        for future in self._open.values():
            if not future.done():
                future.set_result(None)


def require_size(subject: str, data: bytes, headers: Mapping[str, str] | None, limit_bytes: int) -> None:
    """Raise `PayloadTooLarge` when data and headers, as they stand on the wire, exceed the limit."""
    size = len(data)
    if headers:
        size += len("NATS/1.0\r\n\r\n") + sum(
            len(name.encode()) + len(value.encode()) + len(": \r\n") for name, value in headers.items()
        )
    if size > limit_bytes:
        raise errors.PayloadTooLarge(
            f"the message for {subject!r} has {size} bytes and the bus carries {limit_bytes}: make it shorter",
            size_bytes=size,
            limit_bytes=limit_bytes,
        )
