"""How a router comes to be and is kept up to date: settings in, a running router out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from common.errors import BadRequest, ConfigError, WeightsError, WeightsMismatch
from dispatcher.embed import Bounds, Tier, embedding, open_embedder
from dispatcher.roster import Roster
from dispatcher.router.feedback import Feedback, FeedbackMode
from dispatcher.router.judging import Wishes
from dispatcher.router.policy_file import PolicyFile
from dispatcher.router.router import Router
from dispatcher.router.topics_file import read_topics
from dispatcher.router.weights import WeightFiles, Weights
from dispatcher.routing import Cloud, RoutingPolicy, require_strategy
from dispatcher.settings import EmbedSection, RoutingSection
from dispatcher.tariff import Rate

SHIPPED_TOPICS = Path(__file__).with_name("data") / "topics.npz"
"""Five topics (chat, code, knowledge, reasoning, writing) of the shipped embedder, made by
`drover lab centroids --from dispatcher/lab/centroids/topics.csv -o dispatcher/router/data/topics.npz`."""

REREAD_S = 1.0
"""An owner who edits a file waits no longer than this, or than twice this for rules: they must stand still for a look."""


@asynccontextmanager
async def running_router(
    roster: Roster, routing: RoutingSection, embed: EmbedSection, name: str = ""
) -> AsyncIterator[Router]:
    """Run a router over a roster; `name` is what the owner calls this dispatcher.

    Raises `ConfigError` when the strategy, the routing file or the embedder is wrong.
    """
    policy = PolicyFile(_path(routing.file), base_policy(routing))
    embedder = open_embedder(Tier(embed.tier), embed.embedder_path, threads=embed.threads)
    identity = None if embedder is None else str(embedder.identity)
    files = WeightFiles(
        topics=_path(routing.topics_file) or shipped_topics(identity),
        router=_path(routing.router_file),
        cascade=_path(routing.cascade_file),
    )
    weights = Weights(files, identity)
    async with embedding(embedder, _bounds(embed)) as vectors, asyncio.TaskGroup() as tasks:
        feedback = Feedback(
            mode=FeedbackMode(routing.feedback), target_s=routing.feedback_target_s, file=_feedback_file(routing, name)
        )
        feedback.open()
        router = Router(
            roster,
            policy,
            embedding=vectors,
            weights=weights,
            strong_share=routing.strong_share,
            answer_share=routing.cascade_share,
            feedback=feedback,
            wishes=_wishes(routing),
        )
        reader = tasks.create_task(_reread(router))
        try:
            yield router
        finally:
            reader.cancel()
            feedback.keep()  # the loop has nothing else to do


@cache
def shipped_topics(embedder: str | None) -> Path | None:
    """Give the file of the topics that come with Drover; None when they are of another embedder than the one in use. A damaged one
    is refused, and told, by whoever reads it."""
    try:
        read_topics(SHIPPED_TOPICS, embedder=embedder or "none")
    except WeightsMismatch:
        return None
    except WeightsError:
        return SHIPPED_TOPICS
    return SHIPPED_TOPICS


async def _reread(router: Router) -> None:
    while True:
        await asyncio.sleep(REREAD_S)
        await asyncio.to_thread(router.reread)  # a trained router has megabytes, and jobs don't wait for them
        router.learn()
        await asyncio.to_thread(router.feedback.keep)  # nor for a card that takes its time


def retuned(router: Router, routing: RoutingSection, embed: EmbedSection) -> Callable[[], None]:
    """Give what has a running router go by other settings; of those that are named here alone. Raises `ConfigError` as above."""
    base, wishes, bounds = base_policy(routing), _wishes(routing), _bounds(embed)
    policy = router.rules.over(base)

    def turn() -> None:
        router.rules.rest_on(base, policy)
        router.heed(wishes, strong_share=routing.strong_share, answer_share=routing.cascade_share)
        router.feedback.target_s = routing.feedback_target_s
        router.embedding.bounds = bounds

    return turn


def _wishes(routing: RoutingSection) -> Wishes:
    return Wishes(heads=routing.explain_neighbours, confidence=routing.router_confidence)


def _bounds(embed: EmbedSection) -> Bounds:
    return Bounds(chars=embed.chars, waiting=embed.queue_limit, kept=embed.kept)


def base_policy(routing: RoutingSection) -> RoutingPolicy:
    """Give the policy that the routing file builds on. Raises `ConfigError` for a strategy that there is not."""
    try:
        require_strategy(routing.strategy)
    except BadRequest as error:
        raise ConfigError(f"DROVER_STRATEGY={routing.strategy!r}: {error.message}") from error
    return RoutingPolicy(
        tokens=routing.weight_tokens,
        topic=routing.weight_topic,
        health=routing.weight_health,
        strategy=routing.strategy,
        cloud=Cloud(routing.cloud),
        rate=Rate(
            per_kwh=routing.tariff_per_kwh, currency=routing.tariff_currency, g_co2e_per_kwh=routing.grid_g_per_kwh
        ),
    )


def _feedback_file(routing: RoutingSection, name: str) -> Path:
    """Name the file: several dispatchers in one directory are told apart by their names, which their owner has given then."""
    return routing.state_dir / (f"feedback-{name}.json" if name else "feedback.json")


def _path(text: str) -> Path | None:
    return Path(text) if text else None
