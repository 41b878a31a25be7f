"""How a cache comes to be: settings in, a cache that runs out; which store it has is known here alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from common.clock import Clock
from common.lifecycle import guarding
from dispatcher.breaker import FAILURES
from dispatcher.cache.cache import Cache, House, Rules
from dispatcher.cache.index import IndexBounds, open_index
from dispatcher.cache.judges import open_judge
from dispatcher.cache.shadow import Shadow
from dispatcher.cache.store import MemoryAnswers, Shelter
from dispatcher.embed import EmbeddingService
from dispatcher.fleet import Fleet
from dispatcher.outcomes import Job
from dispatcher.settings import CacheSection
from dispatcher.settings.cache import modes_from

AMPLE_S = 1.0
"""The budget of a store in this process: it makes nobody wait, and what takes long is a busy machine."""


@asynccontextmanager
async def running_cache(
    settings: CacheSection,
    *,
    embedding: EmbeddingService,
    fleet: Callable[[], Fleet],
    strategy: Callable[[Job], str],
    may_use: Callable[[Job, str, str], bool],
    clock: Clock,
) -> AsyncIterator[Cache]:
    """Run a cache. Raises `ConfigError` for a wrong `REDIS_URL`, and for a verifier that can't be used."""
    judge = open_judge(settings.verifier, embedding, error_rate=settings.error_rate)
    shadow = Shadow(embedding, Path(settings.shadow_file) if settings.shadow_file else None)
    async with _sheltered(settings, clock) as (shelter, tune), asyncio.TaskGroup() as chores:
        chores.create_task(_first_look(shelter))
        house = House(fleet=fleet, strategy=strategy, may_use=may_use, clock=clock, spawn=guarding(chores))
        cache = Cache(shelter, _rules(settings), house, embedding=embedding, judge=judge, shadow=shadow)

        def prepared(new: CacheSection) -> Callable[[], None]:
            rules = _rules(new)

            def turn() -> None:
                cache.rules = rules
                tune(new)

            return turn

        cache.tune = prepared
        yield cache


def _rules(settings: CacheSection) -> Rules:
    return Rules(
        mode=settings.mode,
        tenants=modes_from(settings.tenants),
        epoch=settings.epoch,
        max_temperature=settings.max_temperature,
        replay_chars_s=settings.replay_chars_s,
        share_s=settings.share_s,
    )


async def _first_look(shelter: Shelter) -> None:
    """Find out how the store is before a job has to: a wrong address is told by `/health` from the start."""
    for _ in range(FAILURES):
        await shelter.request().get("drover", ["-"])


@asynccontextmanager
async def _sheltered(
    settings: CacheSection, clock: Clock
) -> AsyncIterator[tuple[Shelter, Callable[[CacheSection], None]]]:
    """Open the store that the settings name; a Redis need not be there. It comes with what has it go by other settings."""
    bounds = IndexBounds(scope_entries=settings.scope_entries, entries=settings.entries, ttl_s=settings.ttl_s)
    url = settings.redis_url.get_secret_value()
    if not url:
        kept = MemoryAnswers(settings, clock)
        vectors = open_index(None, settings.prefix, bounds)

        def tune_memory(new: CacheSection) -> None:
            kept.tune(new)
            bounds.ttl_s = new.ttl_s

        yield Shelter(kept, vectors, kind="memory", budget_s=AMPLE_S, clock=clock), tune_memory
        return
    # Loading the library of Redis takes a fifth of a dispatcher's start: only one that has a Redis waits for it.
    from dispatcher.cache.redis_client import redis_client  # noqa: PLC0415
    from dispatcher.cache.store.redis import RedisAnswers  # noqa: PLC0415

    async with redis_client(url) as redis:
        vectors = open_index(redis, settings.prefix, bounds)
        answers = RedisAnswers(redis, settings, clock)
        shelter = Shelter(answers, vectors, kind="redis", budget_s=settings.budget_s, clock=clock)

        def tune_shared(new: CacheSection) -> None:
            answers.tune(new)
            shelter.budget_s, bounds.ttl_s = new.budget_s, new.ttl_s

        yield shelter, tune_shared
