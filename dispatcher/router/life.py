"""How a router comes to be and is kept up to date: settings in, a running router out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from common.errors import BadRequest, ConfigError
from dispatcher.embed import Bounds, Tier, embedding, open_embedder
from dispatcher.roster import Roster
from dispatcher.router.policy_file import PolicyFile
from dispatcher.router.router import Router
from dispatcher.router.weights import WeightFiles, Weights
from dispatcher.routing import RoutingPolicy, require_strategy
from dispatcher.settings import EmbedSection, RoutingSection

REREAD_S = 1.0
"""An owner who edits a file waits no longer than this."""


@asynccontextmanager
async def running_router(roster: Roster, routing: RoutingSection, embed: EmbedSection) -> AsyncIterator[Router]:
    """Run a router over a roster. Raises `ConfigError` when the strategy, the routing file or the embedder is wrong."""
    policy = PolicyFile(_path(routing.file), _base(routing))
    embedder = open_embedder(Tier(embed.tier), embed.embedder_path, threads=embed.threads)
    bounds = Bounds(chars=embed.chars, waiting=embed.queue_limit, kept=embed.kept)
    files = WeightFiles(topics=_path(routing.topics_file), router=_path(routing.router_file))
    weights = Weights(files, None if embedder is None else str(embedder.identity))
    async with embedding(embedder, bounds) as vectors, asyncio.TaskGroup() as tasks:
        router = Router(roster, policy, embedding=vectors, weights=weights, strong_share=routing.strong_share)
        reader = tasks.create_task(_reread(router))
        try:
            yield router
        finally:
            reader.cancel()


async def _reread(router: Router) -> None:
    while True:
        await asyncio.sleep(REREAD_S)
        await asyncio.to_thread(router.refresh)  # a trained router has megabytes, and jobs don't wait for them


def _base(routing: RoutingSection) -> RoutingPolicy:
    try:
        require_strategy(routing.strategy)
    except BadRequest as error:
        raise ConfigError(f"DROVER_STRATEGY={routing.strategy!r}: {error.message}") from error
    return RoutingPolicy(
        tokens=routing.weight_tokens,
        topic=routing.weight_topic,
        health=routing.weight_health,
        strategy=routing.strategy,
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None
