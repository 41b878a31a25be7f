"""The virtual loop keeps asyncio's promises, and says so when nothing can happen any more."""

from __future__ import annotations

import asyncio

import pytest

from common.clock import LoopClock
from tests.simulation.loop import EPOCH_S, MOST_TURNS, Stuck, run


def test_time_leaps_to_the_next_timer() -> None:
    """A day passes at once, and exactly."""

    async def main() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    assert run(main()) == 86_400


def test_the_wall_clock_goes_with_the_loop() -> None:
    """A deadline that travels as wall time comes when the loop's time has come."""

    async def main() -> float:
        await asyncio.sleep(3)
        return LoopClock().unix_s()

    assert run(main()) == EPOCH_S + 3


def test_no_timer_is_early() -> None:
    """A timer that is due within the clock's resolution of another still waits for its own moment."""

    async def main() -> list[tuple[float, float]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[float, float]] = []

        def due(at_s: float) -> None:
            seen.append((at_s, loop.time()))

        for at_s in (8.2, 8.199999999999999, 8.2000000000001):
            loop.call_at(at_s, due, at_s)
        await asyncio.sleep(9)
        return seen

    assert all(at_s <= now_s for at_s, now_s in run(main()))


def test_a_timeout_strikes_at_its_moment() -> None:
    """`asyncio.timeout` works in virtual time."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main()) == 1.5


def test_a_wait_for_nothing_is_told() -> None:
    """What would hang a real process raises."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="nothing is scheduled"):
        run(main())


def test_a_spin_is_told() -> None:
    """A loop that turns and turns at one instant raises."""

    async def main() -> None:
        for _ in range(10 * MOST_TURNS):
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="time does not go on"):
        run(main())
