"""Watts from NVIDIA's tegrastats: one child process that prints a line again and again; which rails make the total is not
known here."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping

from agents.power import Absent, Reading, Unreadable
from agents.power.names import Name
from agents.power.rails import reading_of

INTERVAL_MS = 200
"""Ten samples within a query of two seconds; and the sensors' own average is over about as long."""

WAIT_S = 5.0
"""For a line; the first comes after an interval, on a busy Nano later."""

STALE_S = 2.0
MOST_LINE = 8192
"""A line is some 700 bytes. One that does not end is no line of tegrastats."""

# NAME now/mean since the start: a bare number up to JetPack 4, mW behind it since 5, a third one in 7. The mean is never used.
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]{0,31}) (\d{1,9})(mW)?((?:/\d{1,9}(?:mW)?){0,2})(?!\S)")
_NO_RAILS = frozenset({"RAM", "SWAP", "IRAM"})


def rails_of(line: str) -> Mapping[str, float]:
    """Find the rails in a line of any JetPack, in watts; nothing where there are none."""
    rails: dict[str, float] = {}
    for name, now, unit, rest in _RAIL.findall(line):
        # A number alone, as in APE 150, is a clock.
        if (unit or rest) and name not in _NO_RAILS:
            rails.setdefault(name, int(now) / 1000)
    return rails


class Tegrastats:
    """Keeps the last line of a tegrastats that runs until `close`."""

    def __init__(self, program: str, *, wait_s: float = WAIT_S) -> None:
        self.name: str = Name.TEGRASTATS.value
        self._program = program
        self._wait_s = wait_s
        self._child: _Child | None = None

    async def read(self) -> Reading:
        """Give what the last line says; waits for one that is no older than two seconds. Raises `Unreadable`."""
        if self._child is None:
            self._child = await _start(self._program)
        try:
            line, at_s = await self._child.line(self._wait_s)
            return reading_of(rails_of(line), at_s=at_s, source=self.name)
        except Absent as error:
            await self.close()
            raise Absent(f"{self._program} names no rails here: this board's power is not in its lines") from error
        except Unreadable:
            await self.close()
            raise

    async def close(self) -> None:
        """Kill the child."""
        child, self._child = self._child, None
        if child is not None:
            await child.kill()


class _Child(asyncio.SubprocessProtocol):
    """A child whose last whole line is kept, with the moment of its arrival; the ones before are dropped unread."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.SubprocessTransport | None = None
        self._rest = b""
        self._line: tuple[str, float] | None = None
        self._complaint = ""
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._told = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._complaint = data.decode("utf-8", "replace").strip().splitlines()[-1:][0][:200] if data.strip() else ""
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-MOST_LINE:]
        if lines:
            self._line = lines[-1][-MOST_LINE:].decode("ascii", "replace"), self._loop.time()
            self._news.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        if fd == 2:
            self._told.set()

    def process_exited(self) -> None:
        self._ended.set()
        self._news.set()

    async def line(self, wait_s: float) -> tuple[str, float]:
        """Wait for a line that is fresh. Raises `Unreadable` when none comes, or the child has ended."""
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    if self._ended.is_set():
                        raise Unreadable(f"{self._program} has ended by itself{await self._last_words()}")
                    if self._line is not None and self._loop.time() - self._line[1] <= STALE_S:
                        return self._line
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise Unreadable(f"{self._program} has printed nothing for {wait_s:g} s{self._said()}") from error

    async def kill(self) -> None:
        """Kill it, and whatever it has started: it leads a session of its own."""
        transport = self.transport
        if transport is None:
            return
        if not self._ended.is_set():
            try:
                os.killpg(transport.get_pid(), signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                transport.close()  # it is gone; or it is root's, and the closed pipe ends it
            try:
                async with asyncio.timeout(WAIT_S):
                    await self._ended.wait()
            except TimeoutError:
                pass  # the loop waits for it from now on
        transport.close()

    async def _last_words(self) -> str:
        """Wait for what it said before its end: that may be read after it, or never, when another process holds the pipe."""
        try:
            async with asyncio.timeout(0.5):
                await self._told.wait()
        except TimeoutError:
            pass  # then without
        return self._said()

    def _said(self) -> str:
        return f": {self._complaint}" if self._complaint else ""


async def _start(program: str) -> _Child:
    """Start it in a session of its own, so that a Ctrl-C at the agent's terminal does not end it first."""
    loop = asyncio.get_running_loop()
    try:
        transport, child = await loop.subprocess_exec(
            lambda: _Child(program),
            program,
            "--interval",
            str(INTERVAL_MS),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Absent(f"there is no program {program}") from error
    except OSError as error:
        raise Unreadable(f"{program} can't be started: {error.strerror or error}") from error
    # Not from `connection_made`, whose transport is of no class that asyncio knows on uvloop.
    child.transport = transport
    return child
