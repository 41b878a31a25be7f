"""GETs on one connection, in a thread, within a deadline: of a plug or a simulator; what is answered is not known here."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents.power import Unreadable
from agents.power.looks import Looks

_CLOSED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered: at a moment between question and answer. `challenge` is how a 401 wants to be asked."""

    status: int
    body: bytes
    challenge: str
    at_s: float


class Connection:
    """Asks one server, of which `who` is told in faults. It follows no redirect, and knows no proxy: that is for the internet."""

    def __init__(self, url: str, *, who: str, wait_s: float, most_bytes: int) -> None:
        parts = urlsplit(url)
        self._make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._where = (parts.hostname or "127.0.0.1", parts.port)
        self._who = who
        self._wait_s = wait_s
        self._most_bytes = most_bytes
        self._opened: http.client.HTTPConnection | None = None
        self._looks = Looks()

    async def get(self, target: str, headers: Mapping[str, str]) -> Answer:
        """Ask once, and once more where the server had closed an idle connection. Raises `Unreadable`."""
        now, given_up = asyncio.get_running_loop().time, threading.Event()
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._looks.look(lambda: self._ask(target, headers, now, given_up))
        except TimeoutError as error:
            raise Unreadable(f"{self._who} does not answer within {self._wait_s:g} s") from error
        # The text of the error is not told: the address may be in it, and with it a password.
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unreadable(f"{self._who} does not answer ({type(error).__name__})") from None
        finally:
            given_up.set()
            self._hurry()

    async def close(self) -> None:
        """Close the connection, once nothing is asked on it."""
        await self._looks.settle(self._drop)

    def _ask(
        self, target: str, headers: Mapping[str, str], now: Callable[[], float], given_up: threading.Event
    ) -> Answer:
        fresh = self._opened is None
        try:
            return self._exchange(target, headers, now)
        except _CLOSED:
            if fresh or given_up.is_set():
                raise
        return self._exchange(target, headers, now)

    def _exchange(self, target: str, headers: Mapping[str, str], now: Callable[[], float]) -> Answer:
        if self._opened is None:
            self._opened = self._make(*self._where, timeout=self._wait_s)
        whole = False
        try:
            began_s = now()
            self._opened.request("GET", target, headers=dict(headers))
            # Of an answer without a length it is the answer that keeps the socket.
            with closing(self._opened.getresponse()) as said:
                body = said.read(self._most_bytes + 1)
                whole = said.isclosed()
            at_s = (began_s + now()) / 2
            if len(body) > self._most_bytes:
                raise Unreadable(
                    f"{self._who} says more than {self._most_bytes} bytes: its answer is longer than any such"
                )
            return Answer(status=said.status, body=body, challenge=said.getheader("WWW-Authenticate", ""), at_s=at_s)
        finally:
            if not whole:
                self._drop()

    def _hurry(self) -> None:
        """End the look that was given up, if one goes on: a server that trickles would keep its thread for hours."""
        sock = self._opened.sock if self._looks.busy and self._opened is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended meanwhile

    def _drop(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
