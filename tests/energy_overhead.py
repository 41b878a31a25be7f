"""Measures what reading the watts costs an agent: run as a module, it prints the share of a core; it judges nothing.

A real agent works on a simulated device, on one job after the other, at several rates of reading. The cost of one reading is the
slope; five of them a second are the default. The simulator's reader goes over HTTP and a thread: one of sysfs files costs less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import psutil

from tests.integration.agents.rigs import MODEL, Rig, rig

RATES = (1, 5, 20)
WATCHED_S = 20.0
TURNS = 2


async def _share(one: Rig, pid: int, seconds: float) -> float:
    """Give the share of a core that the agent takes while its device works without a pause."""
    process = psutil.Process(pid)
    loop = asyncio.get_running_loop()
    stream = await one.device.send(model=MODEL, options={"max_tokens": 2000})
    await stream.until("tok")
    began_s, before = loop.time(), process.cpu_times()
    while loop.time() - began_s < seconds:
        await stream.until("end")
        stream = await one.device.send(model=MODEL, options={"max_tokens": 2000})
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (loop.time() - began_s)


async def measure() -> Mapping[int, float]:
    """Give the agent's share of a core at each rate: the least of several turns, since whatever else runs only adds."""
    shares: dict[int, float] = {}
    for _ in range(TURNS):
        for hz in RATES:
            async with rig(time_factor=1, DROVER_POWER_HZ=str(hz)) as one:
                share = await _share(one, one.agent.pid, WATCHED_S)
                shares[hz] = min(share, shares.get(hz, share))
    return shares


def main() -> None:
    """Print a line for each rate, and what five readings a second cost by the slope."""
    shares = asyncio.run(measure())
    for hz, share in shares.items():
        print(f"{hz:3} readings/s: {100 * share:5.2f} % of a core")  # noqa: T201
    slope = (shares[RATES[-1]] - shares[RATES[0]]) / (RATES[-1] - RATES[0])
    print(f"  5 readings/s cost {100 * 5 * slope:.2f} % of a core, {1000 * slope:.2f} ms each")  # noqa: T201


if __name__ == "__main__":
    main()
