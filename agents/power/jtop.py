"""Watts from jetson-stats, whose service a Jetson's owner may run already; which rails make the total is not known here.

jetson-stats is AGPL-3.0: it is never installed with Drover, and imported only when it is there and its owner chose it, or when
nothing else works.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from agents.power import Absent, Reading, Unreadable
from agents.power.figures import number
from agents.power.names import Name
from agents.power.rails import reading_of

INTERVAL_S = 0.5
"""The service reads all of the board in each round: faster, it would be a load itself on a Nano."""

WAIT_S = 8.0
"""The first sample comes after the client has looked up what it shows of the board, with programs of its own."""

STALE_S = 3.0

END_S = 2.0
"""The thread ends after the client's next sample."""


class Client(Protocol):
    """What is used of `jtop.jtop`."""

    power: object

    def __enter__(self) -> Client: ...

    def __exit__(self, *error: object) -> object: ...

    def ok(self) -> bool:
        """Wait for the next sample; False when there will be none."""
        ...


def client() -> Client:
    """Make a client of the service. Raises `Absent` when jetson-stats is not installed."""
    try:
        from jtop import jtop  # noqa: PLC0415  # only where it is chosen, and it may be missing
    except ImportError as error:
        raise Absent("jetson-stats is not installed") from error
    made: Client = jtop(interval=INTERVAL_S)
    return made


class Jtop:
    """Keeps the last sample of a client that runs in a thread until `close`: it only knows how to block."""

    def __init__(self, connect: Callable[[], Client] = client) -> None:
        self.name: str = Name.JTOP.value
        self._connect = connect
        self._watch: _Watch | None = None
        self._left: _Watch | None = None

    async def read(self) -> Reading:
        """Give the last sample; waits for one that is no older than three seconds. Raises `Unreadable`."""
        if self._left is not None and self._left.alive:
            raise Unreadable("jtop hangs: an earlier client has not ended")
        if self._watch is None:
            self._watch = _Watch(self._connect, asyncio.get_running_loop())
        try:
            rails, at_s = await self._watch.sample()
            return reading_of(rails, at_s=at_s, source=self.name)
        except Unreadable:
            await self.close()
            raise

    async def close(self) -> None:
        """End the thread; one that hangs in its client is left alone, and is the only one."""
        watch, self._watch = self._watch, None
        if watch is not None:
            self._left = watch
            await watch.end()


def rails_of(power: object) -> Mapping[str, float]:
    """Find the rails in jtop's `power`, in watts, the total rail among them where the board has one. `avg` is never used: it is
    half of the last average and half of the new sample. Raises `Unreadable`."""
    rows = {str(name): row for name, row in _mapping(_mapping(power).get("rail")).items()}
    whole = _mapping(_mapping(power).get("tot"))
    # Without a name it is jtop's own sum, which has a rail too many on an AGX Orin.
    if whole.get("name"):
        rows[str(whole["name"])] = whole
    known = {name: _mapping(row) for name, row in rows.items()}
    return {name: number(row.get("power")) / 1000 for name, row in known.items() if row.get("online", True)}  # mW


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}


class _Watch:
    """The thread, and what it saw last."""

    def __init__(self, connect: Callable[[], Client], loop: asyncio.AbstractEventLoop) -> None:
        self._connect = connect
        self._loop = loop
        self._sample: tuple[Mapping[str, float], float] | None = None
        self._fault: Unreadable | None = None
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._stop = threading.Event()
        # A daemon, since its client may hang in a service that hangs.
        self._thread = threading.Thread(target=self._run, name="jtop", daemon=True)
        self._thread.start()

    async def sample(self) -> tuple[Mapping[str, float], float]:
        """Wait for a fresh sample. Raises `Unreadable`."""
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    if self._fault is not None:
                        raise self._fault
                    if self._sample is not None and self._loop.time() - self._sample[1] <= STALE_S:
                        return self._sample
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise Unreadable(f"jtop.service has sent nothing for {WAIT_S:g} s: sudo systemctl restart jtop") from error

    @property
    def alive(self) -> bool:
        """True until the thread has ended."""
        return self._thread.is_alive()

    async def end(self) -> None:
        """Ask the thread to end, and wait a little for it."""
        self._stop.set()
        try:
            async with asyncio.timeout(END_S):
                await self._ended.wait()
        except TimeoutError:
            return  # it hangs
        self._thread.join()  # it has nothing left to do

    def _run(self) -> None:
        try:
            with self._connect() as board:
                while not self._stop.is_set() and board.ok():
                    self._tell(rails_of(board.power))
            self._fail(Unreadable("jtop.service has stopped: sudo systemctl restart jtop"))
        except Unreadable as fault:
            self._fail(fault)
        except Exception as error:  # noqa: BLE001  # a client of pickled data raises whatever it likes; it ends in `read`
            self._fail(_translated(error))
        finally:
            self._call(self._ended.set)

    def _tell(self, rails: Mapping[str, float]) -> None:
        self._sample = rails, self._loop.time()
        self._call(self._news.set)

    def _fail(self, fault: Unreadable) -> None:
        self._fault = fault
        self._call(self._news.set)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            pass  # the loop has ended, and with it whoever waits


def _translated(error: Exception) -> Unreadable:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, PermissionError) or "ermission" in said:
        return Unreadable(f"jtop.service refuses ({said}): sudo usermod -aG jtop $USER, and log in again")
    if "not active" in said:
        return Unreadable(f"{said} sudo systemctl start jtop")
    return Unreadable(f"jtop says: {said}")
