"""What one decision costs: microseconds over small and large fleets, per strategy, in one process and without I/O.

python -m dispatcher.lab.speed.routing [--rounds 7] [--profile hybrid]

The table is kept between decisions and one device changes before each, as in life: a job began or ended there, and every tenth
time a heartbeat came. The best candidate is looked at, since every job does that.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from time import perf_counter

from common.messages import ChatRequest, Heartbeat, Message, ModelInfo, Role, Speed
from dispatcher.fleet import Device, Fleet
from dispatcher.routing import Ask, RoutingPolicy, Table, Verdict, decide, features
from dispatcher.routing.prompt_signals import prompt_signals
from dispatcher.routing.strategies import STRATEGIES

FLEETS = (8, 1000)
MODELS = (("llama3.2:1b", 1.2), ("qwen2.5:7b", 7.6), ("llama3.1:8b", 8.0))
"""Three models a device, with billions of parameters."""

TOPICS = (("code", "reasoning"), ("chat",), ("writing", "chat"), ())
DECISIONS = 200
BEAT_EVERY = 10
"""A device works on several jobs in the second between two heartbeats."""

QUESTION = (
    "Explain step by step why this function is slow and how to make it faster, with the complexity of both versions:\n"
    "def pairs(items):\n    return [(a, b) for a in items for b in items if a < b and b - a in items]\n"
)


def figures(rounds: int = 1) -> dict[str, float]:
    """Give microseconds a decision for each strategy and size of fleet, and a question's features: the best of several rounds,
    since a busy machine only ever adds."""
    measured: dict[str, float] = {}
    for devices in FLEETS:
        for name in STRATEGIES:
            ask = _ask(name)
            measured[f"decide_{devices}_{name}_us"] = min(_decisions_us(ask, devices) for _ in range(rounds))
    messages = (Message(role=Role.USER, content=QUESTION),)
    request = ChatRequest(messages=messages)
    measured["features_us"] = _best_us(lambda: features(request, messages), rounds)
    measured["prompt_signals_us"] = _best_us(lambda: prompt_signals(QUESTION), rounds)
    return measured


def _decisions_us(ask: Ask, devices: int) -> float:
    life = _life(devices)
    policy, table = _policy(devices), Table()
    decide(ask, next(life), policy, {}, table)
    spent_s = 0.0
    for _ in range(DECISIONS):
        fleet = next(life)
        began_s = perf_counter()
        decide(ask, fleet, policy, {}, table).candidates[0]
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
    devices = {one.name: one for one in map(_device, range(count))}
    for step in itertools.count():
        device = devices[f"device-{step * 7 % count:04d}"]
        if step % BEAT_EVERY:
            devices[device.name] = replace(device, own=(device.own + 1) % 3)
        else:
            beat = replace(device.beat, seq=device.beat.seq + 1, temperature_c=50.0 + step % 9)
            devices[device.name] = replace(device, beat=beat)
        yield Fleet(devices)


def _device(number: int) -> Device:
    models = {
        name: ModelInfo(
            name=name,
            size_bytes=int(billions * 0.65e9),
            parameters_b=billions,
            loaded=place == number % len(MODELS),
            capabilities=("completion",),
        )
        for place, (name, billions) in enumerate(MODELS)
    }
    speeds = {
        name: Speed(jobs=9, prefill_tps=900.0 / billions + number % 13, decode_tps=60.0 / billions + number % 7)
        for name, billions in MODELS
    }
    beat = Heartbeat(
        device=f"device-{number:04d}",
        boot="boot",
        seq=1,
        slots=2,
        models=tuple(models.values()),
        speeds=speeds,
        topics=TOPICS[number % len(TOPICS)],
        temperature_c=50.0,
        idle_w=3.0,
        busy_w=9.0,
    )
    return Device(beat, models)


def _ask(strategy: str) -> Ask:
    messages = (Message(role=Role.USER, content=QUESTION),)
    wanted = features(ChatRequest(messages=messages), messages)
    verdict = Verdict(gain=0.4, strong=True) if strategy == "learned" else None
    return Ask(model="auto", device=None, wanted=wanted, strategy=strategy, seed=7, turn=3, verdict=verdict)


def _policy(devices: int) -> RoutingPolicy:
    shares: Mapping[str, float] = {f"device-{number:04d}": 1.0 + number % 4 for number in range(devices)}
    return RoutingPolicy(workloads={kind: dict(shares) for kind in ("code", "reasoning", "knowledge")})


def main() -> None:
    """Measure and print, or profile one strategy."""
    options = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.routing", description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--profile", choices=sorted(STRATEGIES))
    options.add_argument("--devices", type=int, default=FLEETS[-1], help="with --profile")
    asked = options.parse_args()
    if asked.profile:
        profile = cProfile.Profile()
        profile.runcall(_decisions_us, _ask(asked.profile), asked.devices)
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(20)
        return
    for name, microseconds in figures(asked.rounds).items():
        sys.stdout.write(f"{name:34} {microseconds:9.1f}\n")


if __name__ == "__main__":
    main()
