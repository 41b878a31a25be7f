"""One process of a fleet under test: started, killed, frozen and started again by its handle; it knows no verb."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.commands import GUARD_S

_GRACE_S = 10.0
"""What the end of a world leaves a process for its own end; then it is killed."""


@dataclass(slots=True, kw_only=True)
class Member:
    """A process. `ready` returns when the one just started does its work; `wanted` is False once a test ended it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    ready: Ready
    wanted: bool = False
    fds: tuple[int, ...] = ()
    """File descriptors of ours that it gets under the same numbers."""
    process: Process | None = field(default=None)

    @property
    def log(self) -> Path:
        """What it wrote; it lasts as long as the world."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def died(self) -> bool:
        """True when it ended and nobody had asked it to."""
        return self.wanted and not self.running

    async def launch(self) -> None:
        """Start it, and don't wait until it works."""
        # Where it can be had, the process dies with us: a run that hangs is ended without its `finally`.
        guard = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *guard,
                *self.command,
                cwd=self.directory,
                env=dict(self.environment),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.fds,
            )
        self.wanted = True

    async def start(self) -> None:
        """Start it; returns when it works."""
        await self.launch()
        await self.works()

    async def works(self) -> None:
        """Return when it works. Raises `AssertionError` with the end of its log when it never does."""
        try:
            async with asyncio.timeout(GUARD_S):
                await self.ready(self)
        except TimeoutError:
            raise AssertionError(f"{self.name} did not come up:\n{self.tail()}") from None

    def freeze(self) -> None:
        """Stop it where it is: its sockets stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was."""
        self._signal(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """Send SIGTERM, and don't wait."""
        self.wanted = False
        self._signal(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a power cut does."""
        self.wanted = False
        self._signal(signal.SIGKILL)
        await self.ended()

    async def terminate(self) -> int:
        """End it in good order, and give its status: negative for the signal that it died of."""
        self.ask_to_end()
        return await self.ended()

    async def restart(self) -> int:
        """End it in good order and start it again; gives the status of the one that ended."""
        status = await self.terminate()
        await self.start()
        return status

    async def ended(self) -> int:
        """Wait for its end, and give its status."""
        assert self.process is not None
        async with asyncio.timeout(GUARD_S):
            return await self.process.wait()

    async def clear(self) -> None:
        """End it somehow; for the end of a world."""
        if not self.running:
            return
        self.thaw()
        self.ask_to_end()
        try:
            assert self.process is not None
            async with asyncio.timeout(_GRACE_S):
                await self.process.wait()
        except TimeoutError:
            await self.kill()

    def tail(self, size_bytes: int = 4000) -> str:
        """Give the end of its log."""
        return self.log.read_text(errors="replace")[-size_bytes:] if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        # Not `Process.send_signal`: it polls, and may reap the child before the loop's watcher does.
        if self.running:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # it ended by itself; whoever waits for it collects it


Ready = Callable[[Member], Awaitable[None]]
"""Returns when the process just started does its work."""
