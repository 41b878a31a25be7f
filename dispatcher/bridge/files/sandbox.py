"""Runs the process that looks at what strangers sent: a few at once, each for a bounded time, and none for a client that has left;
it knows no file."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common import codec
from common.errors import BadRequest, QueueFull, UnreadableFile
from common.logs import get_logger
from dispatcher.bridge.files.wire import framed, parts_of

log = get_logger("files")

Json = dict[str, Any]

WORKER = "dispatcher.bridge.files.worker"

REAP_S = 5.0
"""What was killed is gone within milliseconds, if not in the midst of a page fault on a slow disk."""

MOST_ANSWER_BYTES = 8 << 20
"""More than any bus carries in one message: what says more is not our process any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one look may take. The processor's seconds are counted by the kernel, and `wall_s` also passes while nothing is done."""

    memory_bytes: int
    cpu_s: int
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be looked at, by which `task`."""

    task: str
    head: Json
    parts: Sequence[bytes]


class Sandbox:
    """At most `at_once` processes run, and `waiting` requests wait for one; those that come then are to come later. Nobody who has
    a name has more than half of these places, so that one who sends many files leaves some to the others."""

    def __init__(self, *, at_once: int = 2, waiting: int = 16, wait_s: float = 30.0) -> None:
        self._running = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._wait_s = wait_s
        self._inside: Counter[str | None] = Counter()

    async def run(self, work: Work, limits: Limits, whose: str | None = None) -> tuple[Json, list[bytes]]:
        """Give what the process says. Raises `UnreadableFile`, whose message does not say what the file is called, and
        `QueueFull`. When this is cancelled, the process is killed."""
        async with self._place(whose):
            try:
                async with asyncio.timeout(limits.wall_s), _started(work.task, limits) as process:
                    said = await _told(process, work)
            except TimeoutError as error:
                log.warning("files.late", task=work.task, wall_s=limits.wall_s)
                raise UnreadableFile(f"it takes longer than {limits.wall_s:g} s to read: send a smaller one") from error
        return _understood(work.task, process.returncode, said, limits)

    @asynccontextmanager
    async def _place(self, whose: str | None) -> AsyncIterator[None]:
        if self._inside.total() >= self._most:
            raise QueueFull("too many files wait to be looked at: send it again in a while", retry_after_s=5)
        if whose is not None and self._inside[whose] >= max(1, self._most // 2):
            raise QueueFull(
                f"{self._inside[whose]} requests of this key have files that wait to be looked at: send it again in a while",
                retry_after_s=5,
            )
        self._inside[whose] += 1
        try:
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._running.acquire()
            except TimeoutError as error:
                waited = f"the file waited for {self._wait_s:g} s to be looked at"
                raise QueueFull(f"{waited}: send it again in a while", retry_after_s=10) from error
            try:
                yield
            finally:
                self._running.release()
        finally:
            self._inside[whose] -= 1
            if not self._inside[whose]:
                del self._inside[whose]


@asynccontextmanager
async def _started(task: str, limits: Limits) -> AsyncIterator[Process]:
    """Run a process for the life of the context. It gets none of our settings, which have secrets, and no place of ours."""
    command = (sys.executable, "-I", "-m", WORKER, task, str(limits.memory_bytes), str(limits.cpu_s))
    needed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command, env=needed, cwd="/", start_new_session=True, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(REAP_S):
            await process.wait()


async def _told(process: Process, work: Work) -> bytes:
    """Hand the work over, and give what is said, to the end of the process."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("the process was started with pipes")
    try:
        for piece in framed([codec.encode(work.head), *work.parts]):
            process.stdin.write(piece)
            await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it ended before it had read all: its status says why
    said = bytearray()
    while len(said) <= MOST_ANSWER_BYTES and (piece := await process.stdout.read(1 << 16)):
        said += piece
    if len(said) <= MOST_ANSWER_BYTES:
        await process.wait()
    return bytes(said)


def _understood(task: str, status: int | None, said: bytes, limits: Limits) -> tuple[Json, list[bytes]]:
    """Read what was said. Raises `UnreadableFile`, also for a process that broke, or says what none of ours does."""
    if status in {-signal.SIGXCPU, -signal.SIGKILL} and not said:
        log.warning("files.worn", task=task, cpu_s=limits.cpu_s)
        raise UnreadableFile(f"it takes more than {limits.cpu_s} s of work to read: send a smaller one")
    try:
        head, *parts = parts_of(said if status == 0 else b"")
        told = codec.decode(head)
    except (ValueError, BadRequest) as error:
        log.warning("files.broke", task=task, status=status, said_bytes=len(said))
        raise UnreadableFile("it breaks its reader: save it again, or send it in another format") from error
    log.info("files.looked", task=task, peak_kib=told.get("peak_kib"), refused="refused" in told)
    if "refused" in told:
        raise UnreadableFile(str(told["refused"])[:500])
    return told, parts
