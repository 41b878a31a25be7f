"""A command on a real pseudo-terminal that a test can type into and close; it knows no command."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from tests.commands import GUARD_S, clean_environment, end

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The side of the terminal where a person sits."""

    def __init__(self, process: Process, side: int) -> None:
        self.process = process
        self.raw = b""
        self._side: int | None = side
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(side, self._read)

    @property
    def drawn(self) -> str:
        """All that was drawn."""
        return self.raw.decode(errors="replace")

    @property
    def text(self) -> str:
        """The same without colours and movements of the cursor."""
        return _ESCAPE.sub("", self.drawn).replace("\r", "")

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown, and taken line by line: how a shell wants its terminal back."""
        assert self._side is not None
        return termios.tcgetattr(self._side)[3] & (termios.ECHO | termios.ICANON) == termios.ECHO | termios.ICANON

    async def until(self, pattern: str) -> re.Match[str]:
        """Wait until the text matches."""
        async with asyncio.timeout(GUARD_S):
            while not (found := re.search(pattern, self.text, re.DOTALL)):
                if self._side is None:
                    raise AssertionError(f"the command ended before it drew {pattern!r}:\n{self.text}")
                self._changed.clear()
                await self._changed.wait()
        return found

    def type(self, keys: bytes) -> None:
        assert self._side is not None
        os.write(self._side, keys)

    def close(self) -> None:
        """Take the terminal away, as closing its window does."""
        if self._side is not None:
            asyncio.get_running_loop().remove_reader(self._side)
            os.close(self._side)
            self._side = None
            self._changed.set()

    async def ended(self) -> int:
        """Wait for the end and give the status."""
        async with asyncio.timeout(GUARD_S):
            return await self.process.wait()

    def _read(self) -> None:
        assert self._side is not None
        try:
            self.raw += os.read(self._side, 65_536)
        except OSError:  # the last process on the other side has closed it
            self.close()
        self._changed.set()


@asynccontextmanager
async def on_terminal(*command: str, cwd: Path, columns: int = 140, **environment: str) -> AsyncIterator[Terminal]:
    """Run a command as the leader of a terminal's session for the life of the context."""
    side, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=clean_environment(TERM="xterm", COLUMNS=str(columns), LINES="50", **environment),
            preexec_fn=lambda: os.login_tty(other),
        )
    finally:
        os.close(other)
    terminal = Terminal(process, side)
    try:
        yield terminal
    finally:
        below = _below(process)
        await end(process)
        for one in below:  # what make has started does not end with make
            if one.is_running():
                one.kill()
        terminal.close()


def _below(process: Process) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True) if process.returncode is None else []
    except psutil.NoSuchProcess:
        return []
