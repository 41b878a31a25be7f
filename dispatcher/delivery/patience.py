"""How long a run waits for its attempts: which clock strikes next, and whether the attempt may go on; it ends none itself."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from common.clock import loop_s
from common.errors import DeviceSilent
from dispatcher.delivery.attempt import LiveAttempt
from dispatcher.delivery.clocks import Clock
from dispatcher.delivery.why import Beside

OVERSLEPT_S = 0.1
"""A loop that works wakes a timer within milliseconds."""

LOOK_S = 0.02
"""What a socket's reader needs to hand over what waits in it."""


@dataclass(slots=True)
class Alarm:
    """What strikes next. A hedge concerns the job and no attempt."""

    at_s: float
    clock: Clock
    attempt: LiveAttempt | None


class Situation(Protocol):
    """How a job stands, and what can be done for it."""

    @property
    def alone(self) -> bool:
        """True while a single device has the job."""
        ...

    @property
    def unheard_of(self) -> bool:
        """True while one device has the job, and has said nothing: another may still answer in its place."""
        ...

    def others(self, attempt: LiveAttempt) -> bool:
        """True when another device could take the job, now or later."""
        ...

    def room_elsewhere(self, attempt: LiveAttempt) -> bool:
        """True when another device has a free slot for the job now."""
        ...

    async def doubt(self, attempt: LiveAttempt) -> None:
        """Have the device prove that its backend works."""
        ...

    async def try_beside(self, cause: Beside, late: LiveAttempt) -> bool:
        """Begin a second attempt, if another device has room for it now and the budget allows it."""
        ...


def next_alarm(live: Collection[LiveAttempt], *, deadline_s: float, hedge_at_s: float | None) -> Alarm:
    """Give what strikes first; there is at least one attempt."""
    alarms = [Alarm(*attempt.strikes(deadline_s), attempt) for attempt in live]
    if hedge_at_s is not None:
        alarms.append(Alarm(hedge_at_s, Clock.HEDGE, None))
    return min(alarms, key=lambda alarm: alarm.at_s) if len(alarms) > 1 else alarms[0]


async def bears(clock: Clock, attempt: LiveAttempt, run: Situation) -> bool:
    """Say whether an attempt may go on though a clock has struck, and do what helps meanwhile.

    1. A doubt begins a second attempt, within the budget: a fleet that is slow as a whole is not helped by twice the work. 2. A
    load that takes long does so too, and goes on: the model will be wanted. 3. An agent that nobody can stand in for is waited
    for, once. 4. All else ends the attempt.
    """
    if clock is Clock.DOUBT:  # 1
        return await _doubted(attempt, attempt.doubt(), run)
    if clock is Clock.LOAD and attempt.load_on():  # 2
        if run.unheard_of:
            await run.try_beside(Beside.LOAD, attempt)
        return True
    return run.alone and not run.others(attempt) and attempt.wait_longer(clock)  # 3, 4


async def _doubted(attempt: LiveAttempt, doubts: int, run: Situation) -> bool:
    """Have the device prove that it works. At the first doubt another device may be asked as well; from the second on the job
    moves, as soon as another one has room: a proof says nothing of this one request, and a busy device can't give any."""
    await run.doubt(attempt)
    if not run.unheard_of or attempt.loads:
        return True
    if doubts == 1:
        await run.try_beside(Beside.DOUBT, attempt)
        return True
    return not run.room_elsewhere(attempt)


def silent(clock: Clock, attempt: LiveAttempt) -> DeviceSilent:
    """Say that a clock has struck for good."""
    return DeviceSilent(
        f"the {clock} clock of {attempt.device} struck after {attempt.running_s(loop_s()):.1f} s", clock=str(clock)
    )


class Pauses:
    """Finds out that this process itself was paused, by the clocks that strike late."""

    def __init__(self) -> None:
        self._looked_s = 0.0

    async def over(self, at_s: float) -> bool:
        """True when a clock strikes late because of a pause: what arrived meanwhile is still to be read, and is waiting now."""
        if loop_s() - at_s < OVERSLEPT_S or at_s <= self._looked_s:
            return False
        self._looked_s = at_s
        await asyncio.sleep(LOOK_S)
        return True
