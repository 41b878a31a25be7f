"""Which knobs of a dispatcher turn while it runs, and how; what it does not name is read at the start alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from common.reloading import OF_BUS, Knobs, Turn
from dispatcher.delivery.clocks import Limits
from dispatcher.delivery.line import Rules
from dispatcher.pipeline import Pipeline
from dispatcher.rounds import Classifier, Manners, Rounds
from dispatcher.router.life import retuned
from dispatcher.settings import DispatcherSettings, weights_from

KNOBS = Knobs(
    live={
        "log": "level format",
        "dispatcher": "grace_s",
        "admission": "queue_limit default_timeout_s",
        "replay": "entries size_mb store_answer_kb",
        "roster": "suspect_after dead_after forget_after_s",
        "clocks": "accept_s load_s first_token_s between_tokens_s stall_s doubt_s",
        "delivery": "hedge_share",
        "routing": "strategy tariff_per_kwh tariff_currency grid_g_per_kwh router_confidence explain_neighbours strong_share "
        "cascade_share cascade_prefix_chars cascade_patience_s classifier_s feedback_target_s cloud weight_tokens weight_topic "
        "weight_health",
        "line": "guard_s tenant_weights",
        "embed": "chars queue_limit kept",
        "cache": "mode tenants epoch ttl_s size_mb answer_kb budget_s max_temperature replay_chars_s share_s",
    },
    restart={
        "bus": OF_BUS,
        "dispatcher": "id",
        # What the server stores is set aside, and how long, when its streams are declared.
        "replay": "ttl_s store_mb",
        "durable": "enabled queue_limit queue_limit_bytes ack_wait_s tries try_s first_delay_s longest_delay_s life_s steady_s "
        "result_age_s results_limit_bytes sweep_s",
        "roster": "settle_s roll_call_s",
        "routing": "file topics_file router_file cascade_file feedback state_dir",
        "embed": "tier embedder_path threads",
        "cache": "redis_url prefix entries scope_entries error_rate verifier shadow_file",
        "ledger": "enabled",
        "metrics": "address",
        "traces": "endpoint",
    },
    elsewhere={
        "ledger": "database_url state_dir ack_wait_s days power_days conversation_days conversations conversation_mb",
    },
)


def limits_of(settings: DispatcherSettings) -> Limits:
    """Give how long an attempt may stay silent."""
    clocks = settings.clocks
    return Limits(
        accept_s=clocks.accept_s,
        load_s=clocks.load_s,
        first_token_s=clocks.first_token_s,
        between_tokens_s=clocks.between_tokens_s,
        stall_s=clocks.stall_s,
        doubt_s=clocks.doubt_s,
    )


def rules_of(settings: DispatcherSettings) -> Rules:
    """Give how the line is kept."""
    line = settings.line
    return Rules(limit=settings.admission.queue_limit, guard_s=line.guard_s, weights=weights_from(line.tenant_weights))


def manners_of(settings: DispatcherSettings) -> Manners:
    """Give how a cascade goes."""
    routing = settings.routing
    return Manners(prefix_chars=routing.cascade_prefix_chars, patience_s=routing.cascade_patience_s)


def prepare(pipeline: Pipeline) -> Callable[[DispatcherSettings], Turn]:
    """Give what has a running dispatcher go by other settings. It raises `ConfigError` for what only it can find wrong."""

    def prepared(settings: DispatcherSettings) -> Turn:
        retune_router = retuned(pipeline.router, settings.routing, settings.embed)
        retune_cache = None if pipeline.cache.tune is None else pipeline.cache.tune(settings.cache)
        rules = rules_of(settings)

        def turn() -> None:
            retune_router()
            if retune_cache is not None:
                retune_cache()
            pipeline.courier.line.keep(rules)
            _turn(pipeline, settings)

        return turn

    return prepared


def _turn(pipeline: Pipeline, settings: DispatcherSettings) -> None:
    courier, replay, ages = pipeline.courier, settings.replay, settings.roster
    courier.limits = limits_of(settings)
    courier.hedges.share = settings.delivery.hedge_share
    pipeline.intake = replace(pipeline.intake, default_timeout_s=settings.admission.default_timeout_s)
    pipeline.sharing.kept.bound(entries=replay.entries, size_bytes=replay.size_mb << 20)
    pipeline.sharing.shelf.most_bytes = replay.store_answer_kb << 10
    pipeline.roster.age_by(ages.suspect_after, ages.dead_after, ages.forget_after_s)
    pipeline.rounds = _rounds(pipeline, settings)


def _rounds(pipeline: Pipeline, settings: DispatcherSettings) -> Rounds:
    """Rounds that run keep the manners that they began with. Verdicts that are kept stay, unless nobody classifies any more."""
    rounds, timeout_s = pipeline.rounds, settings.routing.classifier_s
    classifier = rounds.classifier
    if timeout_s <= 0:
        classifier = None
    elif classifier is None:
        classifier = Classifier(pipeline.courier, pipeline.router, timeout_s=timeout_s)
    else:
        classifier.timeout_s = timeout_s
    return replace(rounds, manners=manners_of(settings), classifier=classifier)
