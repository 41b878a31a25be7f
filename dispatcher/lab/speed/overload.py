"""Overload: more jobs than a fleet can do, all of them with a deadline; how many are still answered in time. Real processes.

python -m dispatcher.lab.speed.overload [--factor 5] [--seconds 60] [--timeout 10] [--queue-limit 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from common import codec
from common.client import Drover
from common.errors import FleetError
from common.messages import Priority
from dispatcher.cli.nats_server import config, program
from dispatcher.lab.speed.stage import Processes, free_port, healthy, listening

PROFILE = "pi5"
DEVICES = 3
SLOTS = 2
TIME_FACTOR = 20.0
"""A simulated Pi 5 answers a few dozen tokens in half a second."""

TOKENS = (8, 96)
"""Answers of different length, as in life; the dispatcher sees the limit only."""

WARM_UP_S = 8.0
"""Models are loaded, speeds measured."""

PEAK_IN_FLIGHT = 2 * DEVICES * SLOTS
LATE_S = 0.25
"""What an answer may come after its deadline: the way back on a busy machine."""


@dataclass(slots=True)
class Outcome:
    """What became of the jobs of one load."""

    asked: int = 0
    answered: int = 0
    late: int = 0
    tokens: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    by_class: Counter[str] = field(default_factory=Counter)
    refused_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)


@asynccontextmanager
async def crowd(env: dict[str, str]) -> AsyncIterator[str]:
    """Start a broker, a dispatcher, a bridge for its health, and simulated devices; gives the broker's address."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="drover-overload-")))
        nats_port, http_port = free_port(), free_port()
        url = f"nats://127.0.0.1:{nats_port}"
        conf = folder / "nats.conf"
        conf.write_text(config(host="127.0.0.1", port=nats_port, store=folder / "store"))
        shared = {
            "NATS_URL": url,
            "DROVER_HTTP_PORT": str(http_port),
            "DROVER_HTTP_KEYS": "off",
            "LOG_LEVEL": "WARNING",
        }
        shared |= env
        processes = Processes(closing, folder, shared)
        processes.start("nats", program("nats-server"), "-c", str(conf))
        await listening(nats_port, "nats-server")
        processes.python("dispatcher", "dispatcher", "dispatcher")
        processes.python("bridge", "dispatcher", "bridge")
        for number in range(DEVICES):
            await _device(processes, f"{PROFILE}-{number}")
        await healthy(http_port, folder)
        yield url


async def _device(processes: Processes, name: str) -> None:
    port = free_port()
    flags = {"profile": PROFILE, "port": port, "num-parallel": SLOTS, "time-factor": TIME_FACTOR}
    processes.python(f"sim-{name}", "agents.simulator", *(f"--{key}={value}" for key, value in flags.items()))
    await listening(port, name)
    own = {
        "DROVER_DEVICE": name,
        "OLLAMA_HOST": f"http://127.0.0.1:{port}",
        "DROVER_SLOTS": str(SLOTS),
        "OLLAMA_NUM_PARALLEL": str(SLOTS),
    }
    processes.python(f"agent-{name}", "agents", env=own)


async def ask(drover: Drover, outcome: Outcome, *, timeout_s: float, priority: Priority = Priority.NORMAL) -> None:
    """Ask one question, and note what became of it."""
    outcome.asked += 1
    began_s = monotonic()
    options = {"max_tokens": random.randint(*TOKENS)}  # noqa: S311  # a load, not a secret
    try:
        answer = await drover.ask(
            "Tell me something.",
            options=options,
            timeout_s=timeout_s,
            priority=priority,
            model="llama3.2:1b",
            cache="off",
        )
    except FleetError as error:
        outcome.errors[error.code] += 1
        if error.code in {"queue_full", "deadline_infeasible"}:
            outcome.refused_s.append(monotonic() - began_s)
        return
    took_s = monotonic() - began_s
    if took_s > timeout_s + LATE_S:
        outcome.late += 1
        return
    outcome.answered += 1
    outcome.tokens += answer.usage.completion_tokens
    outcome.answered_s.append(took_s)
    outcome.by_class[str(priority)] += 1


async def peak(drover: Drover, *, seconds: float) -> tuple[float, float]:
    """Give the answers and the tokens per second of a fleet that always has something to do, and never too much."""
    outcome = Outcome()
    stop_s = monotonic() + seconds

    async def one_by_one() -> None:
        while monotonic() < stop_s:
            await ask(drover, outcome, timeout_s=120.0)

    began_s = monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(PEAK_IN_FLIGHT):
            tasks.create_task(one_by_one())
    spent_s = monotonic() - began_s
    return outcome.answered / spent_s, outcome.tokens / spent_s


async def flood(drover: Drover, *, per_s: float, seconds: float, timeout_s: float) -> tuple[float, Outcome]:
    """Send jobs at a fixed rate, whatever becomes of them; give the seconds that it took, the last answer included."""
    outcome = Outcome()
    began_s = monotonic()
    classes = random.choices(list(Priority), weights=(1, 3, 1), k=int(per_s * seconds))  # noqa: S311
    async with asyncio.TaskGroup() as tasks:
        for number, priority in enumerate(classes):
            # In time, not after the last one: a load that waits for a slow answerer is none.
            await asyncio.sleep(max(0.0, began_s + number / per_s - monotonic()))
            tasks.create_task(ask(drover, outcome, timeout_s=timeout_s, priority=priority))
    return monotonic() - began_s, outcome


async def overload(*, factor: float, seconds: float, timeout_s: float, env: dict[str, str]) -> dict[str, Any]:
    """Measure the peak, then the flood; gives the figures."""
    async with crowd(env) as url, Drover.connect(url) as drover:
        await peak(drover, seconds=WARM_UP_S)
        best, best_tokens = await peak(drover, seconds=min(20.0, seconds))
        spent_s, outcome = await flood(drover, per_s=factor * best, seconds=seconds, timeout_s=timeout_s)
    return {
        "peak_per_s": round(best, 3),
        "offered_per_s": round(factor * best, 3),
        "goodput_per_s": round(outcome.answered / spent_s, 3),
        "goodput_ratio": round(outcome.answered / spent_s / best, 3),
        # Under overload short answers are likelier to be in time: tokens say whether the devices did as much work that counted.
        "token_goodput_ratio": round(outcome.tokens / spent_s / best_tokens, 3),
        "asked": outcome.asked,
        "answered": outcome.answered,
        "late": outcome.late,
        "errors": dict(outcome.errors),
        "answered_by_class": dict(outcome.by_class),
        "answered_p50_s": _median(outcome.answered_s),
        "refused_p50_s": _median(outcome.refused_s),
        "timeout_s": timeout_s,
    }


def _median(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds), 4) if seconds else None


def main() -> None:
    """Measure, and print one JSON object."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--factor", type=float, default=5.0, help="times the fleet's peak")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--timeout", type=float, default=10.0, help="seconds that each job allows")
    options.add_argument("--queue-limit", type=int, default=1000)
    asked = options.parse_args()
    env = {"DROVER_QUEUE_LIMIT": str(asked.queue_limit)}
    result = asyncio.run(overload(factor=asked.factor, seconds=asked.seconds, timeout_s=asked.timeout, env=env))
    sys.stdout.write(codec.encode_pretty(result) + "\n")


if __name__ == "__main__":
    main()
