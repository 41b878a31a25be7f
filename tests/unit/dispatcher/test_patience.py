"""Which clock strikes next, and whether an attempt may go on when it has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from common.frames import Ack, KeepAlive, Phase
from dispatcher.delivery.attempt import LiveAttempt
from dispatcher.delivery.clocks import Clock, Limits
from dispatcher.delivery.patience import OVERSLEPT_S, Pauses, bears, next_alarm
from dispatcher.delivery.why import Beside
from tests.unit.dispatcher.builders import candidate

LIMITS = Limits(accept_s=1.0, load_s=30.0, first_token_s=60.0, between_tokens_s=20.0, stall_s=3.0, doubt_s=5.0)


@dataclass
class Stands:
    """A job that stands as it is told, and notes what is done for it."""

    alone: bool = True
    unheard_of: bool = True
    able: bool = True
    room: bool = True
    done: list[str] = field(default_factory=list)

    def others(self, attempt: LiveAttempt) -> bool:
        return self.able

    def room_elsewhere(self, attempt: LiveAttempt) -> bool:
        return self.room

    async def doubt(self, attempt: LiveAttempt) -> None:
        self.done.append("proof")

    async def try_beside(self, cause: Beside, late: LiveAttempt) -> bool:
        self.done.append(str(cause))
        return True


def sent(at_s: float = 10.0) -> LiveAttempt:
    return LiveAttempt(1, candidate("orin"), LIMITS, sent_s=at_s)


@pytest.mark.parametrize(
    ("hedge_at_s", "deadline_s", "expected"),
    [
        (None, 100.0, (11.0, Clock.ACCEPT)),
        (10.5, 100.0, (10.5, Clock.HEDGE)),
        (12.0, 100.0, (11.0, Clock.ACCEPT)),
        (None, 10.2, (10.2, Clock.TOTAL)),
    ],
)
def test_the_earliest_clock_strikes(hedge_at_s: float | None, deadline_s: float, expected: tuple[float, Clock]) -> None:
    """Of all attempts' clocks, the hedge and the deadline, the first one is what the run waits for."""
    alarm = next_alarm([sent(11.5), sent()], deadline_s=deadline_s, hedge_at_s=hedge_at_s)

    assert expected == (alarm.at_s, alarm.clock)


@pytest.mark.parametrize(
    ("clocks", "stands", "expected"),
    [
        ([Clock.ACCEPT], {}, ([False], [])),
        ([Clock.ACCEPT, Clock.ACCEPT], {"able": False}, ([True, False], [])),
        ([Clock.STALL], {"able": False, "alone": False}, ([False], [])),
        ([Clock.FIRST_TOKEN], {"able": False}, ([False], [])),
        ([Clock.LOAD, Clock.LOAD], {}, ([True, False], ["load"])),
        ([Clock.LOAD], {"unheard_of": False}, ([True], [])),
        ([Clock.DOUBT, Clock.DOUBT], {}, ([True, False], ["proof", "doubt", "proof"])),
        ([Clock.DOUBT, Clock.DOUBT], {"room": False}, ([True, True], ["proof", "doubt", "proof"])),
        ([Clock.DOUBT], {"unheard_of": False}, ([True], ["proof"])),
    ],
)
async def test_what_an_attempt_may_outlive(
    clocks: list[Clock], stands: dict[str, Any], expected: tuple[list[bool], list[str]]
) -> None:
    """An agent that nobody can stand in for is waited for once, a load goes on once, and a doubt moves the job when it comes
    again and another device has room; all else ends the attempt."""
    attempt, run = sent(), Stands(**stands)
    borne = [await bears(clock, attempt, run) for clock in clocks]

    assert expected == (borne, run.done)


async def test_a_device_that_loads_is_not_doubted_twice() -> None:
    """A doubt during a load has the device prove that it works, and asks no other one."""
    attempt, run = sent(), Stands()
    attempt.take(Ack(), 10.1)
    attempt.take(KeepAlive(Phase.LOAD), 10.2)

    assert (True, ["proof"]) == (await bears(Clock.DOUBT, attempt, run), run.done)


async def test_a_pause_of_the_process_is_seen_once() -> None:
    """A clock that strikes late is believed at its second look, and one that strikes in time at once."""
    pauses, now_s = Pauses(), asyncio.get_running_loop().time()
    late_s = now_s - 2 * OVERSLEPT_S

    assert [False, True, False] == [await pauses.over(at_s) for at_s in (now_s + 1.0, late_s, late_s)]
