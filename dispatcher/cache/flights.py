"""One of many identical requests runs, and the others hear it: who leads, and how the rest follow; it knows no store and no guard.

What followers who watch have seen counts as seen: the leader's answer is then continued rather than begun anew, as for several
listeners of one job. A leader that fails leaves them where they are: the next of them runs, from the text that it has told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from common import frames
from common.clock import loop_s
from common.errors import DeadlineExceeded, FleetError, JobCancelled
from common.messages import Priority
from dispatcher.delivery.sink import AnswerSink
from dispatcher.outcomes import Candidate, Delivered, Job

_RANKS = {Priority.INTERACTIVE: 0, Priority.NORMAL: 1, Priority.BATCH: 2}

Renew = Callable[[], None]
"""Says elsewhere, now and then, that the answer is still being made."""


class Flight:
    """An answer that is being made, and those who hear it."""

    def __init__(self, job: Job, text: str) -> None:
        self.job = job
        self.pieces = [text] if text else []
        self.candidate: Candidate | None = None
        """Who makes it; None while it waits for a device."""
        self.landed: Delivered | None = None
        self.lost = False
        """True when it ended without an answer."""
        self.hopeless = False
        """True when whoever tries again would end the same way."""
        self.watched = 0
        """Followers whose text is seen as it comes."""
        self.shown = False
        """True when any of them has seen some of the text."""
        self._changed = asyncio.Event()

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self.pieces)

    def stir(self) -> None:
        """Have the followers look."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self) -> None:
        """Return when there is something new."""
        await self._changed.wait()

    def suits(self, job: Job, out: AnswerSink) -> bool:
        """True when a job may hear this one: it need not wait behind a less urgent one, and has told nothing else so far."""
        waits = self.candidate is None and _RANKS[job.priority] < _RANKS[self.job.priority]
        return not waits and (not out.visible_chars or self.text.startswith(out.text))


class Leading:
    """The leader's sink: what passes through is heard by the followers as well. The end is not: it is told as `landed`."""

    def __init__(self, out: AnswerSink, flight: Flight, renew: Renew) -> None:
        self._out = out
        self._flight = flight
        self._renew = renew

    @property
    def text(self) -> str:
        return self._out.text

    @property
    def visible_chars(self) -> int:
        return len(self.text) if self._flight.shown else self._out.visible_chars

    @property
    def streams(self) -> bool:
        return self._out.streams or self._flight.watched > 0

    async def ack(self) -> None:
        await self._out.ack()

    async def route(self, candidate: Candidate, attempt: int) -> None:
        self._flight.candidate = candidate
        self._flight.stir()
        await self._out.route(candidate, attempt)

    async def keep_alive(self, frame: frames.KeepAlive) -> None:
        self._renew()
        await self._out.keep_alive(frame)

    async def token(self, text: str) -> None:
        self._flight.pieces.append(text)
        self._flight.stir()
        self._renew()
        await self._out.token(text)

    def restart(self) -> None:
        if self._flight.shown:
            return
        self._out.restart()
        self._flight.pieces[:] = [self._out.text] if self._out.text else []

    async def end(self, end: frames.End, route: dict[str, Any]) -> None:
        await self._out.end(end, route)

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:
        await self._out.error(error, route)


class Flights:
    """The answers that are being made, by key."""

    def __init__(self) -> None:
        self._flying: dict[str, Flight] = {}

    def __len__(self) -> int:
        return len(self._flying)

    def find(self, key: str, job: Job, out: AnswerSink) -> Flight | None:
        """Give one that the job may follow."""
        flight = self._flying.get(key)
        return flight if flight is not None and flight.suits(job, out) else None

    def begin(self, key: str, job: Job, out: AnswerSink) -> Flight:
        """Lead: whoever comes from now on follows this one."""
        flight = self._flying[key] = Flight(job, out.text)
        return flight

    def land(self, flight: Flight, delivered: Delivered) -> None:
        """Let the followers have the answer as it ended, or make it themselves. Who comes while it is being kept follows still."""
        if delivered.end is not None:
            flight.landed = delivered
        else:
            flight.lost = True
            flight.hopeless = not isinstance(delivered.error, JobCancelled | DeadlineExceeded)
        flight.stir()

    def end(self, key: str, flight: Flight) -> None:
        """Have nobody follow any more. One that has not landed is lost, whatever it died of."""
        if self._flying.get(key) is flight:
            del self._flying[key]
        flight.lost = flight.lost or flight.landed is None
        flight.stir()


Announce = Callable[[Candidate], Candidate]
"""Gives a leader's candidate as its followers are told of it."""


class Following:
    """One follower. Where somebody watches it hears the text as it comes, else when it is whole: that may begin anew till then.
    `spoke_s` is when it told its first text."""

    def __init__(self, flight: Flight, out: AnswerSink, announce: Announce) -> None:
        self._flight = flight
        self._out = out
        self._announce = announce
        self._told: Candidate | None = None
        self._chars = len(out.text)
        self._pieces = 0
        self.spoke_s: float | None = None

    async def follow(self, patience: asyncio.Timeout, deadline_s: float) -> Delivered | None:
        """Hear the answer to its end; None when it came to nothing. Its attempts are the leader's own. Once the leader speaks,
        patience lasts until the deadline."""
        flight, watching = self._flight, False
        # What this one has told already binds the leader from now on: it must not begin anew.
        flight.shown = flight.shown or self._out.visible_chars > 0
        try:
            while True:
                if self._out.streams is not watching:
                    watching = not watching
                    flight.watched += 1 if watching else -1
                if flight.pieces:
                    patience.reschedule(deadline_s)
                # Each `await` lets the flight go on: only when nothing was missed is it time to wait.
                if await self._routed() or (watching and await self._caught_up()):
                    continue
                if flight.landed is not None:
                    await self._caught_up()
                    return flight.landed
                if flight.lost:
                    return None
                await flight.change()
        finally:
            flight.watched -= watching

    async def _routed(self) -> bool:
        """Tell who makes the answer; True when that was news."""
        candidate = self._flight.candidate
        if candidate is None or candidate is self._told:
            return False
        self._told = candidate
        await self._out.route(self._announce(candidate), 0)
        return True

    async def _caught_up(self) -> bool:
        """Tell what was missed; True when there was anything."""
        flight = self._flight
        if self._pieces == len(flight.pieces):
            return False
        missed = "".join(flight.pieces[self._pieces :])
        if self._pieces == 0:
            missed = missed[self._chars :]  # what this one has told before it came here
        self._pieces = len(flight.pieces)
        if missed:
            self.spoke_s = self.spoke_s or loop_s()
            flight.shown = True
            await self._out.token(missed)
        return bool(missed)
