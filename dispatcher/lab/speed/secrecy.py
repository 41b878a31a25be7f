"""Whether a tenant can tell by time what another one has asked: the same questions, asked before by others or by nobody.

python -m dispatcher.lab.speed.secrecy [--questions 240] [--seconds 50] [--no-redis]

A dispatcher, its device and all tenants share this process and a bus inside it, so an attacker here is nearer than any real one,
and the device takes no time that could hide anything. One tenant asks; then another one, and one whose name differs from the first
in one bit, ask the same questions and fresh ones of equal length, in an order by lot. `judged` is the attacker's best case: it has
like questions of its own in the very same scope, so that its question is judged. `control` is the first tenant itself, which does
know: what can't be told there can't be told by this instrument.

Told are the difference of the medians (known less fresh) in microseconds, and the chance that of one question of each sort the
known one is answered sooner (AUC; 0.5 is nothing to tell), with 95 % bootstrap intervals: of twenty, one misses by chance. By the
clock is what an attacker sees; by this thread's CPU time is what would be seen on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter, thread_time

import numpy as np
from numpy.typing import NDArray

from common import codec
from common.bus import Bus
from common.bus.memory import MemoryBroker, connect_memory
from common.logs import configure
from common.settings import load
from common.subjects import Subjects
from dispatcher.app import dispatcher
from dispatcher.lab.speed.instant import instant_device
from dispatcher.lab.speed.stage import Processes, free_port, listening
from dispatcher.pipeline import Pipeline
from dispatcher.settings import CacheSection, DispatcherSettings, DurableSection, RosterSection

KNOWS = "alice"
ASKERS = ("bob", "alicd")
"""The last letters of `alice` and `alicd` differ in one bit."""

BLOCK = 30
"""Questions of each sort that are asked in one go; each is held against the median of its own block, since machines have moods."""

DRAWS = 1000
WAIT_S = 30.0

_DEEDS = ("clean", "paint", "close", "raise", "lower", "store", "carry", "shift", "mount", "brush", "scrub", "patch")
_LOOKS = ("brown", "green", "white", "black", "large", "small", "heavy", "light", "quiet", "rusty", "dusty", "round")
_THINGS = ("table", "chair", "shelf", "clock", "stove", "fence", "bench", "panel", "couch", "frame", "crate", "wagon",
           "motor", "brake", "wheel", "piano", "organ", "flute", "knife", "spoon")  # fmt: skip

Numbers = NDArray[np.float64]
Case = tuple[str, str, str]
"""Store, case and asker."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question in a context of its own: `like` means the same."""

    context: int
    text: str

    @property
    def like(self) -> str:
        return self.text.replace("How do I", "How can I")


@dataclass(frozen=True, slots=True)
class Took:
    """What an answer took: microseconds by the clock, and of this thread's CPU."""

    clock_us: float
    cpu_us: float


@dataclass(slots=True)
class Told:
    """What answers took, less the median of their block: a row for each, of the clock and the CPU."""

    asked: list[Numbers] = field(default_factory=list)
    fresh: list[Numbers] = field(default_factory=list)


class Attack:
    """One dispatcher, and those who ask it."""

    def __init__(self, bus: Bus, pipeline: Pipeline, mode: str, *, judged: bool) -> None:
        self._bus = bus
        self._pipeline = pipeline
        self._mode = mode
        self._judged = judged
        self._questions = questions()

    async def block(self, asker: str, told: Told) -> None:
        """Have one tenant ask, and the other one find out."""
        asked = list(itertools.islice(self._questions, BLOCK))
        fresh = list(itertools.islice(self._questions, BLOCK))
        for question in asked:
            await self._ask(KNOWS, question.context, question.text)
            if self._judged:
                await self._ask(KNOWS, question.context, question.like)
        if self._judged and asker != KNOWS:
            for question in (*asked, *fresh):
                await self._ask(asker, question.context, question.like)
        order = [(question, known) for known in (True, False) for question in (fresh, asked)[known]]
        random.shuffle(order)
        gc.collect()
        gc.disable()
        try:
            took = [(known, await self._ask(asker, one.context, one.text)) for one, known in order]
        finally:
            gc.enable()
        rows = np.array([(one.clock_us, one.cpu_us) for _, one in took])
        for (known, _), us in zip(took, rows - np.median(rows, axis=0), strict=True):
            (told.asked if known else told.fresh).append(us)

    async def _ask(self, tenant: str, context: int, text: str) -> Took:
        """Ask, and wait for the answer; on return nothing is left to do for it."""
        messages = [{"role": "system", "content": f"Context {context:06d}"}, {"role": "user", "content": text}]
        body = codec.encode({"messages": messages, "cache": self._mode})
        began_s, began_cpu_s = perf_counter(), thread_time()
        reply = await self._bus.request(Subjects().work("chat", tenant), body, timeout_s=WAIT_S)
        took = Took((perf_counter() - began_s) * 1e6, (thread_time() - began_cpu_s) * 1e6)
        if "error" in codec.decode(reply.data):
            raise RuntimeError(f"a question was not answered: {reply.data[:300]!r}")
        await self._pipeline.idle()
        return took


def questions() -> Iterator[Question]:
    """Give questions of one length, each once, in an order by lot."""
    every = [
        f"How do I {deed} the {look} {thing} under a {other}?"
        for deed, look, thing, other in itertools.product(_DEEDS, _LOOKS, _THINGS, _THINGS)
        if thing != other
    ]
    random.shuffle(every)
    return itertools.starmap(Question, enumerate(every))


@asynccontextmanager
async def attack(mode: str, redis_url: str, *, judged: bool) -> AsyncIterator[Attack]:
    """Run a dispatcher with a device that takes no time."""
    settings = load(
        DispatcherSettings,
        cache=CacheSection.model_validate({"DROVER_CACHE": mode, "REDIS_URL": redis_url, "DROVER_CACHE_TENANTS": ""}),
        durable=DurableSection(enabled=False),
        roster=RosterSection(settle_s=0.0, roll_call_s=0.0),
    )
    broker = MemoryBroker()
    async with (
        connect_memory(broker) as bus,
        connect_memory(broker) as world,
        dispatcher(settings, bus) as pipeline,
        instant_device(world, lambda: "It depends."),
    ):
        yield Attack(world, pipeline, mode, judged=judged)


async def measure(redis_url: str, blocks: int, seconds: float) -> dict[Case, Told]:
    """Give what each asker saw."""
    stores = {"memory": ""} | ({"redis": redis_url} if redis_url else {})
    cases = [(store, case) for store in stores for case in ("exact", "semantic", "judged")]
    found: dict[Case, Told] = {}
    for store, case in cases:
        until_s = monotonic() + seconds / len(cases)
        mode = "exact" if case == "exact" else "semantic"
        async with attack(mode, stores[store], judged=case == "judged") as one:
            found |= {(store, case, asker): Told() for asker in (*ASKERS, KNOWS)}
            for number in range(blocks):
                if number and monotonic() >= until_s:
                    break
                for asker in (*ASKERS, KNOWS):
                    await one.block(asker, found[store, case, asker])
    return found


def figure(asked: Numbers, fresh: Numbers) -> tuple[str, str, bool]:
    """Give the difference of medians and the AUC, each with its interval, as text, and whether there is something to tell."""
    chance = np.random.default_rng(1)
    drawn = [(chance.choice(asked, len(asked)), chance.choice(fresh, len(fresh))) for _ in range(DRAWS)]
    apart = [float(np.median(some) - np.median(others)) for some, others in drawn]
    areas = [area(some, others) for some, others in drawn]
    low, high = np.quantile(apart, (0.025, 0.975))
    least, most = np.quantile(areas, (0.025, 0.975))
    difference = f"{np.median(asked) - np.median(fresh):.0f} [{low:.0f}, {high:.0f}]"
    return difference, f"{area(asked, fresh):.2f} [{least:.2f}, {most:.2f}]", not least <= 0.5 <= most


def area(asked: Numbers, fresh: Numbers) -> float:
    """Give the chance that of one of each the known one came sooner; equal ones count half."""
    fresh = np.sort(fresh)
    later = len(fresh) - np.searchsorted(fresh, asked, side="right")
    equal = len(fresh) - later - np.searchsorted(fresh, asked, side="left")
    return float((later + equal / 2).mean() / len(fresh))


def table(found: dict[Case, Told]) -> str:
    """Lay it out; `*` stands where there is something to tell."""
    lines = [f"{'':25}{'by the clock':>37}{'by CPU':>38}"]
    lines += [f"{'store':7}{'case':9}{'asker':9}" + 2 * f"{'known - fresh, µs':>19}{'AUC':>18} "]
    for (store, case, asker), told in found.items():
        line = f"{store:7}{case:9}{'control' if asker == KNOWS else asker:9}"
        for asked, fresh in zip(np.array(told.asked).T, np.array(told.fresh).T, strict=True):
            difference, auc, tells = figure(asked, fresh)
            line += f"{difference:>19}{auc:>18}{'*' if tells else ' '}"
        lines.append(line)
    return "\n".join(line.rstrip() for line in lines)


async def _measured(blocks: int, seconds: float, program: str | None) -> dict[Case, Told]:
    if program is None:
        return await measure("", blocks, seconds)
    with ExitStack() as closing:
        folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="drover-secrecy-"))
        port = free_port()
        flags = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        Processes(closing, Path(folder), {}).start("redis", program, *flags)
        await listening(port, "redis-server")
        return await measure(f"redis://127.0.0.1:{port}/0", blocks, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.secrecy", description=__doc__)
    parser.add_argument("--questions", type=int, default=240, help="of each sort, for each who asks")
    parser.add_argument("--seconds", type=float, default=50.0, help="in all; then what was measured so far is told")
    parser.add_argument("--no-redis", action="store_true")
    options = parser.parse_args()
    configure("secrecy", level="WARNING", fmt="console")
    program = None if options.no_redis else shutil.which("redis-server")
    found = asyncio.run(_measured(max(1, options.questions // BLOCK), options.seconds, program))
    sys.stdout.write(table(found) + "\n")


if __name__ == "__main__":
    main()
