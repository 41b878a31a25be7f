"""`drover top`: the fleet on the screen, drawn anew once a second, until `q`; once, or as JSON, for pipes.

It leaves the terminal as it was, however it ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from time import monotonic, time
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from common import codec
from common.bus import Bus, Delivery
from common.bus.nats.options import shown
from common.bus.options import options_from
from common.errors import FleetError, NoDevice
from common.ledger import MOST_ROWS, By, EnergyQuery
from common.subjects import Subjects
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.board import Board, follow
from dispatcher.cli.connect import bus_section, open_bus, shell_settings
from dispatcher.cli.ledger_answers import energy_rows, measured_share
from dispatcher.cli.sight import Sight, Today, Watch
from dispatcher.cli.top_view import screen

ASK_EVERY_S = 2.0
"""How often dispatchers are asked for their queues."""

TODAY_EVERY_S = 20.0
"""How often the ledger is asked: it sums all records of the day."""

SERVICE = "llm-dispatcher"
"""As dispatchers call themselves to discovery."""


async def top(*, once: bool, as_json: bool, every_s: float, listen_s: float) -> int:
    """Show the fleet until `q` is typed; without a terminal, or if asked to, once. Raises `NoDevice` when it is shown once and
    there is none, `BusDisconnected` when no server answers at the start."""
    settings = shell_settings()
    section = bus_section(settings)
    subjects = Subjects(section.prefix)
    server = shown(list(options_from(section, name="").urls))
    async with open_bus(settings) as bus:
        watch = Watch(Board(), subjects, server=server, since_s=monotonic())
        async with watching(bus, subjects, watch):
            if once or as_json or not _drawable():
                await asyncio.sleep(listen_s)
                _print(watch.sight(monotonic()), as_json=as_json, listen_s=listen_s)
            else:
                await _live(watch, every_s)
    return 0


@asynccontextmanager
async def watching(bus: Bus, subjects: Subjects, watch: Watch) -> AsyncIterator[None]:
    """Feed a watch from the bus for the life of the context, also across losses of the connection."""
    inbox = bus.new_inbox()
    handlers: dict[str, Callable[[Delivery, float], None]] = {
        subjects.power("*"): watch.power,
        subjects.job_event("*", "*"): watch.job,
        subjects.device_event("*", "*"): watch.happened,
        subjects.route_event("*", "*"): watch.happened,
        inbox: watch.stats,
    }

    def lost() -> None:
        watch.lost_at_s = monotonic()

    def found() -> None:
        watch.lost_at_s = None

    forget = bus.on_disconnect(lost)
    bus.on_reconnect(found)
    async with follow(bus, watch.board, subjects):
        for subject, handler in handlers.items():
            await bus.subscribe(subject, _timed(handler))
        async with _beside(_asking(bus, inbox), _today(bus, subjects, watch)):
            yield
    forget()


def _timed(handler: Callable[[Delivery, float], None]) -> Callable[[Delivery], None]:
    return lambda delivery: handler(delivery, monotonic())


@asynccontextmanager
async def _beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless works for the life of the context. The body's errors leave it as they are."""
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # raised again below, as itself: the group would wrap it
            failure = error
        finally:
            for task in running:
                task.cancel()
    if failure is not None:
        raise failure


async def _asking(bus: Bus, inbox: str) -> None:
    while True:
        with suppress(FleetError):  # there is no connection: the screen says so
            await bus.publish(f"$SRV.STATS.{SERVICE}", b"", reply=inbox)
        await asyncio.sleep(ASK_EVERY_S)


async def _today(bus: Bus, subjects: Subjects, watch: Watch) -> None:
    """Keep what the ledger has of today; without a ledger there is nothing to show."""
    while True:
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            # By day that is a group or two; of tenants or devices there may be more than an answer holds.
            query = EnergyQuery(by=By.DAY, since_unix_s=midnight.timestamp(), limit=MOST_ROWS)
            rows, _ = await energy_rows(bus, subjects, query)
            watch.today = Today(
                jobs=sum(row.jobs for row in rows),
                joules=sum(row.joules for row in rows),
                measured_share=measured_share(rows),
                heard_s=monotonic(),
            )
        except FleetError:
            watch.today = None
        await asyncio.sleep(TODAY_EVERY_S)


def _drawable() -> bool:
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def _print(sight: Sight, *, as_json: bool, listen_s: float) -> None:
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty(told(sight))}\n")
        return
    if not sight.devices:
        raise NoDevice(
            f"no device has sent a heartbeat in {listen_s:g} s: start one with drover-agent, or all with make up"
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    console.print(Group(*screen(sight, width=console.width, height=None, now=datetime.now().astimezone())))


def told(sight: Sight) -> dict[str, Any]:
    """Give all of it for programs; what nobody knows is null."""
    return {
        "at_unix_s": round(time(), 3),
        **asdict(sight),
        "in_flight": sight.in_flight,
        "slots": sight.slots,
        "waiting": sight.waiting,
    }


async def _live(watch: Watch, every_s: float) -> None:
    """Draw until `q` is typed, anew whenever the terminal changes its size."""
    loop = asyncio.get_running_loop()
    stop, draw = asyncio.Event(), asyncio.Event()

    def quit_() -> None:
        stop.set()
        draw.set()

    loop.add_signal_handler(signal.SIGWINCH, draw.set)
    try:
        with keys({"q": quit_, "Q": quit_}, gone=quit_), _drawing() as update:
            while not stop.is_set():
                draw.clear()
                update(watch.sight(monotonic()))
                with suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        await draw.wait()
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


@contextmanager
def _drawing() -> Iterator[Callable[[Sight], None]]:
    """Take the terminal's other screen, and give it back. A terminal that is gone is no error: whoever took it away knows."""
    console = Console(highlight=False)
    live = Live(console=console, screen=True, auto_refresh=False)

    def update(sight: Sight) -> None:
        width, height = console.size
        live.update(Group(*screen(sight, width=width, height=height, now=datetime.now().astimezone())), refresh=True)

    try:
        with live:
            yield update
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def keys(bound: dict[str, Callable[[], None]], *, gone: Callable[[], None]) -> Iterator[None]:
    """Hear single keys for the life of the context, without echo; Ctrl-C stays a signal. Without a keyboard none are heard.

    `gone` is called when the terminal is closed.
    """
    if not sys.stdin.isatty():
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            typed = os.read(keyboard, 64)
        except OSError:
            typed = b""
        if not typed:
            loop.remove_reader(keyboard)
            gone()
        for key in typed.decode(errors="replace"):
            if action := bound.get(key):
                action()

    try:
        tty.setcbreak(keyboard)
        loop.add_reader(keyboard, read)
        yield
    finally:
        loop.remove_reader(keyboard)
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
