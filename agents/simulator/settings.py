"""The simulator's settings, from flags and environment; it does not know what they do."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agents.simulator.clock import FOREVER_S
from agents.simulator.engine import Limits
from agents.simulator.gojson import BadBody
from agents.simulator.options import parse_go_duration
from agents.simulator.profiles import catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set."""

    profile: str
    host: str
    port: int
    time_factor: float
    seed: int
    limits: Limits


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read the flags; what no flag sets comes from the environment. Wrong values end the process with a usage message."""
    given = _parser(environment).parse_args(arguments)
    limits = Limits(
        num_parallel=given.num_parallel,
        max_queue=given.max_queue,
        keep_alive_s=given.keep_alive,
        context_tokens=given.context_length or None,
    )
    return Settings(
        profile=given.profile,
        host=given.host,
        port=given.port,
        time_factor=given.time_factor,
        seed=given.seed,
        limits=limits,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    profiles = sorted(catalogue().devices)
    parser = argparse.ArgumentParser(
        prog="drover-simulator", description="A simulated edge device that speaks Ollama's API."
    )

    def flag(name: str, variable: str, default: str, kind: Callable[[str], object], text: str) -> None:
        value = environment.get(variable) or default
        parser.add_argument(name, type=kind, default=value, metavar="X", help=f"{text} [{variable}={default}]")

    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    flag("--profile", "DROVER_SIM_PROFILE", "orin", _one_of(profiles), f"which device: {', '.join(profiles)}")
    flag("--port", "DROVER_SIM_PORT", "11434", _whole(0, 65535), "port to listen on; 0 picks a free one")
    flag("--time-factor", "DROVER_SIM_TIME_FACTOR", "1", _positive, "how many times faster than life")
    flag("--seed", "DROVER_SIM_SEED", "0", _whole(-(2**63), 2**63), "seed of the answers' text")
    flag("--num-parallel", "OLLAMA_NUM_PARALLEL", "1", _whole(1, 1024), "slots of a loaded model")
    flag("--max-queue", "OLLAMA_MAX_QUEUE", "512", _whole(0, 1_000_000), "requests that may wait for a load")
    flag("--keep-alive", "OLLAMA_KEEP_ALIVE", "5m", _keep_alive, "how long an unused model stays loaded")
    flag("--context-length", "OLLAMA_CONTEXT_LENGTH", "0", _whole(0, 10_000_000), "default context; 0 is 4096")
    return parser


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def profile(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is no profile; choose one of {', '.join(names)}")
        return text

    return profile


def _whole(least: int, most: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return value

    return whole_number


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _keep_alive(text: str) -> float:
    """Read OLLAMA_KEEP_ALIVE: a Go duration, or a number of seconds; negative is for ever."""
    try:
        seconds = float(int(text)) if text.lstrip("+-").isdigit() else parse_go_duration(text)
    except BadBody:
        raise argparse.ArgumentTypeError(f'{text!r} is no duration such as "5m", "30s" or "-1"') from None
    return FOREVER_S if seconds < 0 else seconds
