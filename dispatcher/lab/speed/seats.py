"""What a job pays for its seat: the decision, and a slot taken at once or a place in the line, as delivery does it; without I/O.

Beside the pure decision of `routing`, this is the way that every job goes: roster, router's decision, `SlotFinder`, line.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

from common.codec import Encoding
from common.errors import FleetError, InternalError
from common.messages import ChatRequest, Message, Role
from dispatcher.delivery.line import Line, Rules
from dispatcher.delivery.seat import SlotFinder
from dispatcher.lab.speed.fleet import BEAT_EVERY, DECISIONS, FLEETS, QUESTION, asked, beat, policy
from dispatcher.outcomes import Candidate, Decision, Job
from dispatcher.roster import Roster
from dispatcher.routing import Table, decide, nobody
from dispatcher.routing.strategies import STRATEGIES

BUSY = 3
"""So many jobs run at once while seats are taken: each takes one, and one before it ends."""

WAITING = 20
"""Jobs in the line while what one holds is weighed."""


def figures(rounds: int = 1) -> dict[str, float]:
    """Give microseconds for a seat by each strategy, for a place in the line of a full fleet, and the KB that one who waits holds:
    the best of several rounds, since a busy machine only ever adds. Needs a running loop, whose clock the line reads."""
    measured: dict[str, float] = {}
    for devices in FLEETS:
        for name in STRATEGIES:
            measured[f"seat_{devices}_{name}_us"] = min(seats_us(name, devices) for _ in range(rounds))
        measured[f"wait_{devices}_us"] = min(_wait_us(devices) for _ in range(rounds))
        measured[f"wait_{devices}_kb"] = _wait_kb(devices)
    return measured


def seats_us(strategy: str, devices: int) -> float:
    """Give the microseconds of one seat. Needs a running loop."""
    house = _House(strategy, devices)
    running: deque[str] = deque()
    spent_s = 0.0
    for step in range(DECISIONS):
        if step % BEAT_EVERY == 0:
            house.beat(step)
        if len(running) == BUSY:
            house.line.give_back(running.popleft())
        began_s = perf_counter()
        seat = _at_once(house.finder().take({}, first=False))
        spent_s += perf_counter() - began_s
        running.append(seat.device)
    return spent_s / DECISIONS * 1e6


def _wait_us(devices: int) -> float:
    house = _House("hybrid", devices)
    house.fill()
    spent_s = 0.0
    for _ in range(WAITING):
        began_s = perf_counter()
        waiting = house.join()
        spent_s += perf_counter() - began_s
        waiting.close()
    return spent_s / WAITING * 1e6


def _wait_kb(devices: int) -> float:
    """Weigh those who wait; the fleet changes between them, as it does."""
    house = _House("hybrid", devices)
    house.fill()
    house.join().close()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        waiting = []
        for step in range(WAITING):
            house.beat(step)
            waiting.append(house.join())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for one in waiting:
        one.close()
    return (held - before) / WAITING / 1e3


class _House:
    """A roster, a line and a table, as one dispatcher has them."""

    def __init__(self, strategy: str, devices: int) -> None:
        self.roster = Roster()
        self.line = Line(self.roster, Rules())
        self._table, self._policy, self._devices = Table(), policy(devices), devices
        self._ask = asked(strategy)
        self._job = _job(asyncio.get_running_loop().time())
        for number in range(devices):
            self.roster.observe(beat(number), 0.0)
        self.choose({}, 0.0)

    def beat(self, step: int) -> None:
        """Let one device report."""
        last = self.roster.fleet.devices[beat(step * 7 % self._devices).device].beat
        self.roster.observe(replace(last, seq=last.seq + 1, temperature_c=50.0 + step % 9), 0.0)

    def fill(self) -> None:
        """Take every slot that there is."""
        for name, device in list(self.roster.fleet.devices.items()):
            for _ in range(device.beat.slots):
                self.roster.take(name)

    def finder(self) -> SlotFinder:
        """Give what finds a seat for the next job."""
        return SlotFinder(
            roster=self.roster,
            line=self.line,
            job=self._job,
            choose=self.choose,
            nobody=self._nobody,
            out=_Unheard(),
            settled_s=0.0,
        )

    def join(self) -> Generator[Any, None, Candidate]:
        """Have a job wait for a slot; closing what this gives ends its waiting."""
        waiting = _steps(self.finder().take({}, first=False))
        next(waiting)
        return waiting

    def choose(self, excluded: Mapping[str, str], _: float) -> Decision:
        """Decide as the router does."""
        return decide(self._ask, self.roster.fleet, self._policy, excluded, self._table)

    def _nobody(self, decision: Decision) -> FleetError:
        return nobody(self._ask, decision, self.roster.fleet)


class _Unheard:
    """`AnswerSink` that nobody hears; a seat tells nothing."""

    text = ""
    visible_chars = 0
    streams = True

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise InternalError(f"a seat was measured, and it told {name}")


def _at_once(taking: Awaitable[Candidate]) -> Candidate:
    """Give what is there without any waiting."""
    try:
        next(_steps(taking))
    except StopIteration as done:
        seat: Candidate = done.value
        return seat
    raise InternalError("a fleet with free slots made a job wait")


def _steps(taking: Awaitable[Candidate]) -> Generator[Any, None, Candidate]:
    return (yield from taking.__await__())


def _job(now_s: float) -> Job:
    messages = (Message(role=Role.USER, content=QUESTION),)
    return Job(
        id="seat",
        tenant="bench",
        kind="chat",
        request=ChatRequest(messages=messages),
        messages=messages,
        model="auto",
        device=None,
        reply="",
        encoding=Encoding.JSON,
        received_s=now_s,
        received_unix_s=now_s,
        deadline_s=now_s + 3600.0,
        deadline_unix_s=now_s + 3600.0,
    )
