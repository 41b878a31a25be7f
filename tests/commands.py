"""Our commands as real processes with an environment of their own; it knows no verb.

The settings of whoever runs the tests, and any `.env` beside the tests, stay out.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

GUARD_S = 45.0
"""A hang guard: a fleet of three devices comes up in three seconds on an idle machine."""

DROVER = (sys.executable, "-P", "-m", "dispatcher")
_OURS = ("DROVER_", "NATS_", "OLLAMA_", "OPENAI_", "LOG_", "REDIS_", "DATABASE_URL")


def clean_environment(**extra: str) -> dict[str, str]:
    """Give this process's environment without any of our knobs, and `extra`."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_OURS)} | extra


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    status: int
    out: str
    err: str


async def drover(
    *arguments: str, cwd: Path, stdin: str | bytes = b"", guard_s: float = GUARD_S, **environment: str
) -> Finished:
    """Run `drover` to its end; on a busy machine a server may need more than the second that a person is made to wait.

    If it has not ended in time, it is killed with all that it has started.
    """
    patient = {"DROVER_NATS_CONNECT_WAIT_S": "20"} | environment
    process = await asyncio.create_subprocess_exec(
        *DROVER, *arguments, cwd=cwd, env=clean_environment(**patient), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(guard_s):
            out, err = await process.communicate(stdin if isinstance(stdin, bytes) else stdin.encode())
    except BaseException:
        if process.returncode is None:
            _kill(psutil.Process(process.pid))
        await process.wait()
        raise
    return Finished(process.returncode or 0, out.decode(), err.decode())


@asynccontextmanager
async def started(*command: str, **options: Any) -> AsyncIterator[Process]:
    """Start a command that a test ends, or sees to its end; whatever happens, it is gone when the block is left."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Running:
    """A command that runs until a test ends it; its standard output is read as it comes."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._said_all = False
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def read(self) -> None:
        """Take in the output until its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))
            self._changed.set()
        self._said_all = True
        self._changed.set()

    async def until(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Wait for a line that matches, among those from number `after` on."""
        async with asyncio.timeout(GUARD_S):
            while True:
                for line in self.lines[after:]:
                    if found := re.search(pattern, line):
                        return found
                if self._said_all:
                    raise AssertionError(f"the command ended before it said {pattern!r}:\n{self.text}")
                self._changed.clear()
                await self._changed.wait()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    async def ended(self) -> int:
        """Wait for the end and give the status."""
        async with asyncio.timeout(GUARD_S):
            return await self.process.wait()

    def children(self) -> list[psutil.Process]:
        """Give all processes below this one."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def named(self, pattern: str) -> list[psutil.Process]:
        """Give those whose command line matches."""
        return [child for child in self.children() if re.search(pattern, _command_line(child))]


@asynccontextmanager
async def running(*arguments: str, cwd: Path, **environment: str) -> AsyncIterator[Running]:
    """Run `drover` for the life of the context; standard error goes where standard output goes."""
    process = await asyncio.create_subprocess_exec(
        *DROVER,
        *arguments,
        cwd=cwd,
        env=clean_environment(**environment),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.TaskGroup() as tasks:
        command = Running(process)
        tasks.create_task(command.read())
        try:
            yield command
        finally:
            await end(process)


async def gone(*processes: psutil.Process) -> None:
    """Wait until none of the processes runs any more."""
    async with asyncio.timeout(GUARD_S):
        while alive := [one for one in processes if _runs(one)]:  # noqa: ASYNC110  # strangers' ends raise no event
            await asyncio.sleep(0.02)
    assert not alive


def _kill(process: psutil.Process) -> None:
    """Kill a process and all below it; it is stopped first, so that it starts nobody meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                one.kill()


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def end(process: Process) -> None:
    """Stop a process of ours that may have ended: SIGTERM, and SIGKILL for one that hangs."""
    if process.returncode is not None:
        return
    try:
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(GUARD_S):
            await process.wait()
    except (TimeoutError, ProcessLookupError):
        process.kill()
        await process.wait()
