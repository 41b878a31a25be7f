"""All faults by their names, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tests.chaos.faults import broker, devices, dispatchers, hostile, pressure, producers, rolling
from tests.chaos.outcome import Outcome, Size

Fault = Callable[[Size], Awaitable[list[Outcome]]]


def _one(fault: Callable[[Size], Awaitable[Outcome]]) -> Fault:
    async def run(size: Size) -> list[Outcome]:
        return [await fault(size)]

    return run


def _each(*faults: Callable[[Size], Awaitable[Outcome]]) -> Fault:
    async def run(size: Size) -> list[Outcome]:
        return [await fault(size) for fault in faults]

    return run


FAULTS: Mapping[str, Fault] = {
    "F1": _one(dispatchers.undisturbed),
    "F2": _each(dispatchers.one_of_two_killed, dispatchers.only_one_killed),
    "F3": _one(devices.killed),
    "F4": _one(devices.frozen),
    "F5": _one(devices.partitioned),
    "F6": _one(broker.restarted),
    "F7": _one(dispatchers.submitted_twice),
    "F8": _one(pressure.slow_producers),
    "F9": _each(rolling.agents_and_dispatchers, rolling.everything),
    "F10": _each(pressure.no_device, pressure.all_busy),
    "F11": _one(pressure.overload),
    "F12": _each(hostile.bad_input, hostile.wrong_clocks),
    "F13": _one(pressure.soak),
    "F14": _one(producers.killed),
}
