"""What the cache takes of a job, in microseconds of CPU: an answer that is there, one by likeness, and what is added where none is.

python -m dispatcher.lab.speed.cached [--rounds 5]

All of it runs as in a dispatcher with its default settings, without Redis and without I/O. Likeness looks through one scope that is
full, and whose questions are all of one kind, so that there is much to judge. Vectors are made beforehand: what the embedder takes
is a figure of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import thread_time
from typing import Any, TypeVar

from common import codec
from common.clock import LoopClock
from common.codec import Encoding
from common.errors import InternalError
from common.frames import End
from common.messages import CacheWish, ChatRequest, Message, Role, Usage
from dispatcher.cache import Cache, running_cache
from dispatcher.cache.finding import Look
from dispatcher.cache.keys import place, plain_text
from dispatcher.cache.plan import plan
from dispatcher.cache.serving import Run
from dispatcher.delivery.sink import AnswerSink
from dispatcher.embed import Embedder, EmbeddingService, Tier, embedding, open_embedder
from dispatcher.fleet import Fleet
from dispatcher.lab.speed import one_thread
from dispatcher.lab.speed.fleet import QUESTION, device
from dispatcher.outcomes import Attempt, CacheOutcome, Candidate, Delivered, Job, Terms
from dispatcher.settings import CacheSection

T = TypeVar("T")

TENANT, STRATEGY = "bench", "hybrid"
MISSES = 100
"""Jobs of each kind that find nothing."""

_DEEDS = ("reset", "clean", "move", "paint", "repair", "replace", "lock", "open", "close", "lift")
_THINGS = ("router", "kitchen door", "garden fence", "window", "bicycle chain", "heating", "front gate", "lamp", "sink", "chimney",
           "printer", "camera", "garage", "mailbox", "shower", "balcony", "fridge", "oven", "carpet", "attic")  # fmt: skip
KEPT = tuple(f"How do I {deed} the {thing} of my house?" for deed, thing in itertools.product(_DEEDS, _THINGS))
AGAIN = tuple(question.replace("How do I", "How can I") for question in KEPT)
"""Most of them mean what a kept one means."""

OTHER = tuple(f"How do I insure the {thing} of my {house}?" for thing in _THINGS for house in ("house", "flat", "hut"))
"""They look like what is kept, and mean something else."""

FAR = tuple(f"Why does a {thing} matter to poets of the {age} age?" for thing in _THINGS for age in ("iron", "golden"))
_WORDS = sorted({*f"{__doc__} {QUESTION} {CacheSection.__doc__}".lower().split()})


_CHANCE = random.Random(1)  # noqa: S311  # the same ones each time
ANSWER = " ".join(_CHANCE.choices(_WORDS, k=340))
"""2 KiB."""


async def figures(embedder: Embedder) -> dict[str, float]:
    """Give the medians of one round. `miss_*` are what is added to a job, `look_*` are parts of that."""
    async with embedding(embedder) as vectors:
        plain_us = await _missed_us("off", vectors)
        return {
            "miss_exact_us": await _missed_us("exact", vectors) - plain_us,
            "miss_semantic_us": await _missed_us("semantic", vectors) - plain_us,
            "hit_exact_us": await _hit_us(vectors) - plain_us,
            "named_us": await _cpu_us([_job(question) for question in KEPT], _named),
            **await _looked_us(vectors),
        }


async def _missed_us(mode: str, vectors: EmbeddingService) -> float:
    """Give what a job takes whose device takes nothing: names, look, flight, and its answer kept."""
    async with _cache(mode, vectors) as cache:
        jobs = [_job(f"{' '.join(_CHANCE.choices(_WORDS, k=12))}?") for _ in range(MISSES)]
        await _embedded(jobs, vectors)
        return await _cpu_us(jobs, lambda job: _served(cache, job, _Sink(ANSWER), _run))


async def _hit_us(vectors: EmbeddingService) -> float:
    async with _cache("exact", vectors) as cache:
        return await _cpu_us([_job(one) for one in KEPT], lambda job: _served(cache, job, _Sink(), _never))


async def _looked_us(vectors: EmbeddingService) -> dict[str, float]:
    """Give what whole look-ups by likeness take, by what the judge makes of them."""
    async with _cache("semantic", vectors) as cache:
        sorts: dict[CacheOutcome, list[Job]] = defaultdict(list)
        jobs = [_job(question) for question in (*AGAIN, *OTHER, *FAR)]
        await _embedded(jobs, vectors)
        for job in jobs:
            sorts[(await _look(cache, job)).outcome].append(job)
        return {
            f"look_{outcome}_us": await _cpu_us(sorts[outcome], lambda job: _look(cache, job))
            for outcome in (CacheOutcome.HIT, CacheOutcome.REFUSED, CacheOutcome.MISS)
            if sorts[outcome]
        }


async def _served(cache: Cache, job: Job, out: AnswerSink, run: Run) -> None:
    """Take a job through the cache, as the pipeline does."""
    serving = cache.serving(job)
    await serving.finish(await serving.answer(out, run), out.text)
    await serving.close()


async def _look(cache: Cache, job: Job) -> Look:
    return await cache.finder.look(
        place(job, strategy=STRATEGY, epoch=""),
        plan(job, "semantic", max_temperature=1.0),
        cache.shelter.request(),
        asker=job.asker,
        may_use=lambda *_: True,
    )


async def _named(job: Job) -> None:
    plan(job, "semantic", max_temperature=1.0)
    place(job, strategy=STRATEGY, epoch="")


async def _embedded(jobs: Sequence[Job], vectors: EmbeddingService) -> None:
    """Have the vectors at hand; fewer than are remembered."""
    for job in jobs:
        await vectors.embed(plain_text(job.messages[-1].content), of=job.asker)


async def _cpu_us(items: Sequence[T], call: Callable[[T], Awaitable[object]]) -> float:
    """Give the median of this thread's own time: a busy machine, or a collection of garbage, is nobody's."""
    taken = []
    for item in items:
        began_s = thread_time()
        await call(item)
        taken.append(thread_time() - began_s)
    return statistics.median(taken) * 1e6


@asynccontextmanager
async def _cache(mode: str, vectors: EmbeddingService) -> AsyncIterator[Cache]:
    """Run a cache that holds an answer to each question of `KEPT`."""
    one = device(0)
    settings = CacheSection.model_validate({"DROVER_CACHE": mode, "REDIS_URL": ""})
    async with running_cache(
        settings,
        embedding=vectors,
        fleet=lambda: Fleet({one.name: one}),
        strategy=lambda _: STRATEGY,
        may_use=lambda *_: True,
        clock=LoopClock(),
    ) as cache:
        for question in KEPT:
            await _served(cache, _job(question, cache=CacheWish.REFRESH), _Sink(ANSWER), _run)
        yield cache


def _job(question: str, **fields: Any) -> Job:
    messages = (Message(role=Role.USER, content=question),)
    return Job(
        id="bench",
        tenant=TENANT,
        kind="chat",
        request=ChatRequest(messages=messages, **fields),
        messages=messages,
        model="auto",
        device=None,
        reply="",
        encoding=Encoding.JSON,
        received_s=0.0,
        received_unix_s=0.0,
        deadline_s=1e9,
        deadline_unix_s=1e9,
    )


async def _run(_: AnswerSink) -> Delivered:
    """Be a device that takes no time."""
    return _DELIVERED


async def _never(_: AnswerSink) -> Delivered:
    raise InternalError("an answer that is kept was made again")


_DEVICE = device(0)
_CHOSEN = Candidate(
    device=_DEVICE.name,
    model=next(iter(_DEVICE.models)),
    score=1.0,
    terms=Terms(0.5, 0.5, 0.5),
    reason="it is the only one",
    warm=True,
    predicted_first_token_s=0.2,
    predicted_total_s=2.0,
    predicted_energy_j=9.0,
)
_DELIVERED = Delivered(
    chosen=_CHOSEN,
    end=End(usage=Usage(prompt_tokens=30, completion_tokens=400)),
    attempts=(Attempt(number=0, device=_CHOSEN.device, model=_CHOSEN.model, outcome="ok", total_s=2.0),),
)


class _Sink:
    """An `AnswerSink` that has an answer, and tells nobody anything."""

    visible_chars = 0
    streams = False

    def __init__(self, text: str = "") -> None:
        self.text = text

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _nothing


async def _nothing(*_: object) -> None:
    return


def measured() -> dict[str, float]:
    """Give the figures of one round, from a process of its own."""
    return one_thread.measured("dispatcher.lab.speed.cached", "--once")


def _once() -> dict[str, float]:
    embedder = open_embedder(Tier.STATIC)
    if embedder is None:
        raise RuntimeError("the static tier is shipped, and is not here")
    return asyncio.run(figures(embedder))


def main() -> None:
    """Measure and print the medians of some rounds."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.lab.speed.cached", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", action="store_true", help="one round, as JSON, in this process")
    options = parser.parse_args()
    if options.once:
        sys.stdout.write(codec.encode_pretty(_once()))
        return
    rounds = [measured() for _ in range(options.rounds)]
    for name in rounds[0]:
        sys.stdout.write(f"{name:20} {statistics.median(one[name] for one in rounds):9.1f}\n")


if __name__ == "__main__":
    main()
