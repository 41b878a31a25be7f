"""All faults by their names, in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tests.chaos.faults import broker, devices, dispatchers, durable, hostile, pressure, producers, rolling
from tests.chaos.outcome import Outcome, Size

Fault = Callable[[Size], Awaitable[Outcome]]

FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "F1": (dispatchers.undisturbed,),
    "F2": (dispatchers.one_of_two_killed, dispatchers.only_one_killed, durable.dispatchers_killed),
    "F3": (devices.killed, durable.agents_killed),
    "F4": (devices.frozen,),
    "F5": (devices.partitioned,),
    "F6": (broker.restarted, durable.broker_killed),
    "F7": (dispatchers.submitted_twice, durable.submitted_twice),
    "F8": (pressure.slow_producers,),
    "F9": (rolling.everything,),
    "F10": (pressure.no_device, pressure.all_busy),
    "F11": (pressure.overload,),
    "F12": (hostile.bad_input, hostile.wrong_clocks),
    "F13": (pressure.soak,),
    "F14": (producers.killed,),
}
