"""What one decision costs: microseconds over small and large fleets, per strategy, in one process and without I/O.

python -m dispatcher.lab.speed.routing [--rounds 7] [--profile hybrid [--seat] [--devices 8]]

The table is kept between decisions and one device changes before each, as in life: a job began or ended there, and every tenth
time a heartbeat came. The best candidate is looked at, since every job does that; what delivery takes beside it is in `seats`.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import itertools
import pstats
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter

from common.messages import ChatRequest, Message, Role
from dispatcher.fleet import Fleet
from dispatcher.lab.speed import seats
from dispatcher.lab.speed.fleet import BEAT_EVERY, DECISIONS, FLEETS, QUESTION, asked, device, policy
from dispatcher.routing import Ask, Table, decide, features
from dispatcher.routing.prompt_signals import prompt_signals
from dispatcher.routing.strategies import STRATEGIES


def figures(rounds: int = 1) -> dict[str, float]:
    """Give microseconds a decision for each strategy and size of fleet, and a question's features: the best of several rounds,
    since a busy machine only ever adds."""
    measured: dict[str, float] = {}
    for devices in FLEETS:
        for name in STRATEGIES:
            ask = asked(name)
            measured[f"decide_{devices}_{name}_us"] = min(_decisions_us(ask, devices) for _ in range(rounds))
    messages = (Message(role=Role.USER, content=QUESTION),)
    request = ChatRequest(messages=messages)
    measured["features_us"] = _best_us(lambda: features(request, messages), rounds)
    measured["prompt_signals_us"] = _best_us(lambda: prompt_signals(QUESTION), rounds)
    return measured


def _decisions_us(ask: Ask, devices: int) -> float:
    life = _life(devices)
    rules, table = policy(devices), Table()
    decide(ask, next(life), rules, {}, table)
    spent_s = 0.0
    for _ in range(DECISIONS):
        fleet = next(life)
        began_s = perf_counter()
        decide(ask, fleet, rules, {}, table).candidates[0]
        spent_s += perf_counter() - began_s
    return spent_s / DECISIONS * 1e6


def _best_us(call: Callable[[], object], rounds: int) -> float:
    def once() -> float:
        began_s = perf_counter()
        for _ in range(DECISIONS):
            call()
        return (perf_counter() - began_s) / DECISIONS * 1e6

    return min(once() for _ in range(rounds))


def _life(count: int) -> Iterator[Fleet]:
    """Give the same fleet again and again, one device of it changed each time."""
    devices = {one.name: one for one in map(device, range(count))}
    for step in itertools.count():
        one = devices[f"device-{step * 7 % count:04d}"]
        if step % BEAT_EVERY:
            devices[one.name] = replace(one, own=(one.own + 1) % 3)
        else:
            beat = replace(one.beat, seq=one.beat.seq + 1, temperature_c=50.0 + step % 9)
            devices[one.name] = replace(one, beat=beat)
        yield Fleet(devices)


def measured(rounds: int = 1) -> dict[str, float]:
    """Give the figures of decisions, and those of the seats that delivery takes by them. Not to be called in a running loop."""

    async def both() -> dict[str, float]:
        return {**figures(rounds), **seats.figures(rounds)}

    return asyncio.run(both())


async def _profiled(profile: cProfile.Profile, strategy: str, devices: int, *, seat: bool) -> None:
    if seat:
        profile.runcall(seats.seats_us, strategy, devices)
    else:
        profile.runcall(_decisions_us, asked(strategy), devices)


def main() -> None:
    """Measure and print, or profile one strategy."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.routing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", choices=sorted(STRATEGIES))
    parser.add_argument("--seat", action="store_true", help="with --profile: with the seat that delivery takes")
    parser.add_argument("--devices", type=int, default=FLEETS[-1], help="with --profile")
    options = parser.parse_args()
    if options.profile:
        profile = cProfile.Profile()
        asyncio.run(_profiled(profile, options.profile, options.devices, seat=options.seat))
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(25)
        return
    for name, figure in measured(options.rounds).items():
        sys.stdout.write(f"{name:34} {figure:9.1f}\n")


if __name__ == "__main__":
    main()
