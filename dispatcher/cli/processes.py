"""Child processes that are kept running: started, watched, started again, stopped; it knows not what they do.

A child leads its own process group, so that a Ctrl-C reaches the parent alone, and the kernel kills it when the parent dies,
however that happens.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from common.lifecycle import CANT_WORK
from dispatcher.cli.state import tail

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0
HEALTHY_S = 30.0
"""A child that ran this long before it died starts again with the shortest wait."""
KEEPS_DYING = 4
"""Deaths in a row from which on the trouble is called lasting."""


class Life(StrEnum):
    """Where a child is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    """In good order, though not by us: somebody asked it to."""
    DIED = "died"
    KEEPS_DYING = "keeps dying"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to run. `argv` is asked for at each start, since a port may be known only after the first."""

    name: str
    argv: Callable[[], tuple[str, ...]]
    log_file: Path
    env: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = 5.0
    fds: tuple[int, ...] = ()
    """File descriptors of ours that it gets under the same numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeEvent:
    """A child's life changed. When it died or ended, `detail` says how, `outlook` what its watch does next, and `log` holds the
    last lines of its log."""

    name: str
    life: Life
    detail: str = ""
    outlook: str = ""
    log: tuple[str, ...] = ()


def backoff_s(deaths: int) -> float:
    """Give the wait before the next start: doubled with each death in a row."""
    return min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** max(0, deaths - 1))


def describe_exit(status: int) -> str:
    """Say how a process ended."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


class Child:
    """One process under watch. `run` keeps it alive until `stop` ends it for good."""

    def __init__(
        self,
        spec: Spec,
        *,
        tell: Callable[[LifeEvent], None],
        restart: bool = True,
        wait_s: Callable[[int], float] = backoff_s,
    ) -> None:
        """Watch a process that is not started yet. `wait_s` gives the wait after so many deaths in a row."""
        self.spec = spec
        self.life = Life.STARTING
        self.starts = 0
        self._tell = tell
        self._restart = restart
        self._way_out = "is not started again (DROVER_RESTART)"
        self._wait_s = wait_s
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Start the process, and start it again each time it dies, after a growing wait; not one that says that it can't work."""
        deaths = 0
        try:
            while not self._stopping.is_set():
                began = asyncio.get_running_loop().time()
                reason = await self._once()
                if self._stopping.is_set():
                    return
                lasted_s = asyncio.get_running_loop().time() - began
                if reason:
                    deaths = 1 if lasted_s > HEALTHY_S else deaths + 1
                if reason == describe_exit(CANT_WORK):
                    self._restart = False
                    self._way_out = "is not started again: mend that, and start everything anew"
                self._mourn(reason, deaths)
                if not self._restart:
                    return
                await self._pause(self._wait_s(deaths))
        finally:
            self._ended.set()
            if self._stopping.is_set():
                self._turn(Life.STOPPED)

    async def stop(self) -> None:
        """End the process: SIGTERM to its group, and SIGKILL when the grace is over. Returns when it is gone."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.spec.grace_s):
                await self._ended.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    async def _once(self) -> str:
        """Run it to its end; gives what it died of, which is nothing when it ended in good order."""
        self._turn(Life.STARTING)
        try:
            with self.spec.log_file.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self.spec.argv(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.spec.env},
                    start_new_session=True,
                    pass_fds=self.spec.fds,
                    preexec_fn=_die_with(os.getpid()),
                )
        except OSError as error:
            return f"can't be started ({error.strerror})"
        self.starts += 1
        if self._stopping.is_set():  # the stop came while the process was being made
            self._signal(signal.SIGTERM)
        self._turn(Life.RUNNING)
        try:
            status = await self._process.wait()
            return describe_exit(status) if status else ""
        finally:
            self._signal(signal.SIGKILL)  # whatever it left in its group; all of it when the watch is cancelled
            self._process = None  # its number may soon be another's

    def _mourn(self, reason: str, deaths: int) -> None:
        again = f"starts again in {self._wait_s(deaths):g} s" if self._restart else self._way_out
        if not reason:
            self._turn(Life.ENDED, "in good order", again, tuple(tail(self.spec.log_file, 5)))
            return
        life = Life.KEEPS_DYING if deaths >= KEEPS_DYING else Life.DIED
        times = f", {deaths} times in a row" if deaths >= KEEPS_DYING else ""
        self._turn(life, f"{reason}{times}", again, tuple(tail(self.spec.log_file, 5)))

    def _turn(self, life: Life, detail: str = "", outlook: str = "", log: tuple[str, ...] = ()) -> None:
        self.life = life
        self._tell(LifeEvent(name=self.spec.name, life=life, detail=detail, outlook=outlook, log=log))

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        except TimeoutError:
            pass  # the wait is over

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass  # the group is gone, which is what was wanted


def _die_with(parent: int) -> Callable[[], None]:
    """Give the function that runs in the child between fork and exec; it must import nothing and take no lock."""

    def die_with_parent() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return die_with_parent


class Tiers:
    """Children in the order of their start; they are stopped tier by tier, the last first."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._tiers: deque[list[Child]] = deque()

    def start(self, *children: Child) -> None:
        """Run the children as one tier."""
        self._tiers.append(list(children))
        for child in children:
            self._tasks.create_task(child.run(), name=f"child {child.spec.name}")

    async def stop(self) -> None:
        """Stop all, the last tier first, the children of a tier together."""
        while self._tiers:
            async with asyncio.TaskGroup() as stopping:
                for child in self._tiers.pop():
                    stopping.create_task(child.stop(), name=f"stop {child.spec.name}")
