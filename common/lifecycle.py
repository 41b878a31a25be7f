"""How a process runs and ends: first signal drains, second forces, a dead service stops the process by name.

It knows no service. Start order is the order of `async with` in the caller; stop order is its reverse.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from common.errors import ConfigError, FleetError
from common.logs import get_logger

log = get_logger("lifecycle")

CANT_WORK = os.EX_CONFIG
"""The exit status of a process whose settings are wrong: to start it again as it is would be in vain. A `ConfigError` that says
when to come again, since somebody else has what it needs, is not meant."""

COLLECT_EVERY = 10_000
"""New objects between two looks of the garbage collector, where Python has 700. A job makes thousands, and hardly any in circles:
looking that often cost a twentieth of what a request takes."""


class ServiceDied(RuntimeError):
    """A task that should run as long as the process has ended."""


class Stop:
    """The wish to stop: set by the first signal, or by whoever calls `request`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._reload: Callable[[], object] | None = None
        self.signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    def on_reload(self, reload: Callable[[], object] | None) -> None:
        """Have `reload` called at each SIGHUP that means this; see `on_signals`."""
        self._reload = reload

    @contextmanager
    def on_signals(self, *, reloads: bool = False) -> Iterator[None]:
        """Let SIGTERM, SIGINT and SIGHUP ask for the stop; a second SIGTERM or SIGINT ends the process at once.

        A terminal that closes may send SIGHUP twice, by its shell and by the kernel: that forces nothing. A process that `reloads`
        and has no terminal takes a SIGHUP for the wish to read its settings again, as services do; before it can, they are fresh.
        """
        loop = asyncio.get_running_loop()

        means_reload = reloads and not has_terminal()

        def handle(number: signal.Signals) -> None:
            if number is signal.SIGHUP and means_reload:
                if self._reload is not None:
                    self._reload()
            elif not self.requested:
                self.signal = number
                self.request()
            elif number is not signal.SIGHUP:
                log.warning("process.forced", signal=number.name)
                os._exit(128 + number)

        numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if heeds_hangup() else [])]
        for number in numbers:
            loop.add_signal_handler(number, handle, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def heeds_hangup() -> bool:
    """Tell whether the end of its terminal is meant to end this process; nohup has SIGHUP ignored, so that it is not."""
    return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN


def has_terminal() -> bool:
    """Tell whether this process belongs to a terminal, whose end it would be told of by SIGHUP; services and the processes below
    `drover up` don't."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


async def serve(name: str, service: Callable[[], Awaitable[None]]) -> None:
    """Run a service that should never end; raises `ServiceDied` with its name when it does."""
    try:
        await service()
    except Exception as error:
        log.exception("service.died", service=name)
        raise ServiceDied(f"{name} died: {error}") from error
    raise ServiceDied(f"{name} ended")


Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Starts a task that nobody waits for."""


def guarding(tasks: asyncio.TaskGroup) -> Spawn:
    """Give what starts tasks in a group that none of them can end: a bug in one job must not take the others with it."""

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = tasks.create_task(_guarded(work))
        task.add_done_callback(lambda _: work.close())  # cancelled before its first step, it was never awaited
        return task

    return spawn


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("task.crashed", task=getattr(work, "__qualname__", repr(work)))


def run(main: Callable[[Stop], Coroutine[Any, Any, None]], *, reloads: bool = False) -> int:
    """Run `main` on uvloop where there is one, and give the exit status; a typed error becomes one clear line. `reloads` is as in
    `Stop.on_signals`.

    Who asked for the end and got it in good order sees status 0, and `CANT_WORK` says that the settings are wrong: a supervisor
    must be able to tell both from a crash. Only Ctrl-C is passed on, as the death by SIGINT that tells a shell to leave its loop.
    """

    gc.set_threshold(COLLECT_EVERY)
    gc.freeze()  # what was imported lasts as long as the process: no collection needs to look at it, nor the one at the exit

    async def with_signals() -> Stop:
        stop = Stop()
        with stop.on_signals(reloads=reloads):
            await main(stop)
        return stop

    try:
        stop = _run(with_signals())
    except BaseException as error:
        known = list(_fleet_errors(error))
        if not known:
            raise
        for one in known:
            sys.stderr.write(f"drover: {one.message}\n")
        return CANT_WORK if all(isinstance(one, ConfigError) and one.retry_after_s is None for one in known) else 1
    if stop.signal is signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return 0


def _fleet_errors(error: BaseException) -> Iterator[FleetError]:
    """Give the typed errors in a tree of exception groups; nothing if any other error is among them."""
    leaves = list(_leaves(error))
    if all(isinstance(leaf, FleetError) for leaf in leaves):
        yield from (leaf for leaf in leaves if isinstance(leaf, FleetError))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for child in error.exceptions:
            yield from _leaves(child)
    else:
        yield error


def _run(main: Coroutine[Any, Any, Stop]) -> Stop:
    try:
        import uvloop  # noqa: PLC0415  # Linux on CPython only; 2.4 times faster on receive, measured against asyncio
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
