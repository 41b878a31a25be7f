"""The knobs of the live lane, from the door to the device; it knows no code that turns them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import AfterValidator, AllowInfNan, Field, StringConstraints, model_validator

from common.settings import Section
from common.subjects import is_token
from dispatcher.settings.kinds import Seconds, Weight

MOST_WEIGHTS = 1000


def weights_from(text: str) -> dict[str, float]:
    """Read `alice=3,bob=1`. Raises `ValueError` that names the wrong part."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST_WEIGHTS:
        raise ValueError(f"{len(parts)} tenants are named: at most {MOST_WEIGHTS} are taken")
    weights: dict[str, float] = {}
    for part in parts:
        tenant, _, share = part.partition("=")
        weight = _share(share)
        if not is_token(tenant.strip()) or weight is None or tenant.strip() in weights:
            raise ValueError(f"{part[:80]!r} is no tenant with a weight of its own: write alice=3, from 0.01 to 1000")
        weights[tenant.strip()] = weight
    return weights


def _share(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if 0.01 <= weight <= 1000 else None


def _weights_text(text: str) -> str:
    weights_from(text)
    return text


class DispatcherSection(Section):
    """The dispatcher itself."""

    id: str = Field(
        "", validation_alias="DROVER_DISPATCHER_ID", description="name of this dispatcher; empty makes one up"
    )
    grace_s: Seconds = Field(
        20.0,
        validation_alias="DROVER_GRACE_S",
        description="seconds that running jobs get to finish after the first SIGTERM",
    )


class AdmissionSection(Section):
    """What is let in."""

    queue_limit: Annotated[int, Ge(0), Le(1_000_000)] = Field(
        1000,
        validation_alias="DROVER_QUEUE_LIMIT",
        description="jobs that may wait for a slot; above it they are refused; 0 lets nobody wait",
    )
    default_timeout_s: Seconds = Field(
        600.0, validation_alias="DROVER_JOB_TIMEOUT_S", description="total time of a job that names no deadline"
    )


class ReplaySection(Section):
    """Finished answers, kept for whoever sends the same job id again."""

    ttl_s: Seconds = Field(
        600.0,
        validation_alias="DROVER_REPLAY_TTL_S",
        description="seconds for which a finished answer is given again to the same job id",
    )
    entries: Annotated[int, Ge(0), Le(1_000_000)] = Field(
        2000, validation_alias="DROVER_REPLAY_ENTRIES", description="finished answers that are kept; 0 keeps none"
    )
    size_mb: Annotated[int, Ge(0), Le(65_536)] = Field(
        32, validation_alias="DROVER_REPLAY_SIZE_MB", description="MiB of memory that the kept answers may take"
    )
    store_mb: Annotated[int, Ge(0), Le(65_536)] = Field(
        64,
        validation_alias="DROVER_REPLAY_STORE_MB",
        description="MiB on the NATS server's disk, set aside at once, for answers to producers that may come back (an "
        "Idempotency-Key, or keep_s); above it the oldest are forgotten early; 0 stores none",
    )
    store_answer_kb: Annotated[int, Ge(1), Le(65_536)] = Field(
        256,
        validation_alias="DROVER_REPLAY_STORE_ANSWER_KB",
        description="KiB that one of them may take there, its account included; a larger one ends with its dispatcher",
    )


class LineSection(Section):
    """In which order waiting jobs get the slots that come free."""

    guard_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_QUEUE_GUARD_S",
        description="seconds of waiting after which a job counts as one class higher (batch, normal, interactive), and again "
        "after as many more",
    )
    tenant_weights: Annotated[str, AfterValidator(_weights_text)] = Field(
        "",
        validation_alias="DROVER_TENANT_WEIGHTS",
        description="shares of tenants that wait in the same class, as alice=3,bob=1: 0.01 to 1000; who is not named has 1",
    )


class RosterSection(Section):
    """When a device counts as alive. Multiples of the interval that the device's heartbeat names."""

    suspect_after: Annotated[float, Gt(1)] = Field(
        2.5, validation_alias="DROVER_SUSPECT_AFTER", description="missed heartbeat intervals until a device is suspect"
    )
    dead_after: Annotated[float, Gt(1)] = Field(
        5.0, validation_alias="DROVER_DEAD_AFTER", description="missed heartbeat intervals until a device is dead"
    )
    settle_s: Annotated[float, Ge(0)] = Field(
        1.5,
        validation_alias="DROVER_SETTLE_S",
        description="seconds after its start in which a dispatcher keeps jobs waiting for devices that it has not heard yet",
    )
    roll_call_s: Annotated[float, Ge(0), Le(10)] = Field(
        0.25,
        validation_alias="DROVER_ROLL_CALL_S",
        description="seconds in which a dispatcher that starts hears all devices before it takes jobs; else the first one that it "
        "hears would get them",
    )
    forget_after_s: Seconds = Field(
        3600.0, validation_alias="DROVER_FORGET_AFTER_S", description="seconds until a dead device leaves the roster"
    )

    @model_validator(mode="after")
    def _suspect_before_dead(self) -> Self:
        if self.suspect_after > self.dead_after:
            raise ValueError(
                f"DROVER_SUSPECT_AFTER={self.suspect_after:g} is more than DROVER_DEAD_AFTER={self.dead_after:g}: "
                "a device is suspect before it is dead"
            )
        return self


class ClockSection(Section):
    """How long an attempt may stay silent, phase by phase."""

    accept_s: Seconds = Field(
        0.45, validation_alias="DROVER_ACCEPT_S", description="seconds until the agent must have accepted a job"
    )
    load_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_LOAD_S",
        description="seconds a model may take to load, or three times what its size and the device's history predict if that is "
        "longer; after them another device is asked as well, and after twice as long the load is given up",
    )
    first_token_s: Seconds = Field(
        60.0,
        validation_alias="DROVER_FIRST_TOKEN_S",
        description="seconds from accept, or from the end of the load, to the first token, or three times what is predicted if "
        "that is longer",
    )
    between_tokens_s: Seconds = Field(
        15.0,
        validation_alias="DROVER_BETWEEN_TOKENS_S",
        description="seconds that a backend may produce nothing after it has begun, though its agent lives",
    )
    stall_s: Seconds = Field(
        2.75,
        validation_alias="DROVER_STALL_S",
        description="seconds without any frame, keep-alives included, until a device is given up",
    )
    doubt_s: Seconds = Field(
        5.0,
        validation_alias="DROVER_DOUBT_S",
        description="seconds of silence, or twice what is predicted if that is longer, after which a device must prove that its "
        "backend works, and a second device is asked where that is safe",
    )


class DeliverySection(Section):
    """How jobs are moved."""

    hedge_share: Annotated[float, Ge(0), Le(1)] = Field(
        0.05,
        validation_alias="DROVER_HEDGE_SHARE",
        description="share of jobs that may be given to a second device when their first token is later than the 95th "
        "percentile, or their device is silent for long; 0 turns it off",
    )


class RoutingSection(Section):
    """How devices are chosen. The hybrid score is S = w1*C_tokens + w2*Sim_centroid + w3*H_latency, weights normalised to 1."""

    strategy: Annotated[str, MaxLen(64)] = Field(
        "hybrid",
        validation_alias="DROVER_STRATEGY",
        description="how a device is chosen when neither request nor tenant say: "
        "hybrid, token, heuristic, semantic, perf, weighted, learned, energy, cascade, llm, round_robin, least_loaded or random; "
        "a variant stands behind a colon, as energy:eco or token:1000",
    )
    file: str = Field(
        "",
        validation_alias="DROVER_ROUTING_FILE",
        description="TOML file with weights, strategies and allow-lists of tenants, shares of workloads, caps on heat and watts, "
        "schedules and tariffs; read again whenever it changes",
    )
    tariff_per_kwh: Annotated[float, AllowInfNan(allow_inf_nan=False), Ge(0), Le(1e6)] | None = Field(
        None,
        validation_alias="DROVER_TARIFF_PER_KWH",
        description="what a kilowatt-hour costs, for the energy receipts and for limits while it is dear; hours with prices of "
        "their own stand in DROVER_ROUTING_FILE; not set: nobody knows",
    )
    tariff_currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        "EUR", validation_alias="DROVER_TARIFF_CURRENCY", description="currency of the tariff, in three capital letters"
    )
    grid_g_per_kwh: Annotated[float, AllowInfNan(allow_inf_nan=False), Ge(0), Le(1e5)] | None = Field(
        None,
        validation_alias="DROVER_GRID_G_PER_KWH",
        description="grams of CO2 equivalent that the making of a kilowatt-hour emits, for the energy receipts; not set: nobody "
        "knows",
    )
    topics_file: str = Field(
        "",
        validation_alias="DROVER_TOPICS_FILE",
        description="topics that `drover lab centroids` trained, read again when they change; not set: five "
        "topics that come with Drover, by the shipped embedder, or by words without it",
    )
    router_file: str = Field(
        "",
        validation_alias="DROVER_ROUTER_FILE",
        description="router that `drover lab train` trained, of two tiers or of several models, for the strategy learned; read "
        "again when it changes",
    )
    router_confidence: Annotated[float, Ge(0), Le(1)] | None = Field(
        None,
        validation_alias="DROVER_ROUTER_CONFIDENCE",
        description="below it a router of several models leaves a question to the rules of heuristic; not set: what training "
        "found, where choices were no better than the base model by more than chance",
    )
    explain_neighbours: bool = Field(
        default=False,
        validation_alias="DROVER_EXPLAIN_NEIGHBOURS",
        description="let explanations show how the labelled prompts begin that a trained router looked at, to everybody who may "
        "ask; else they tell only how alike those are, and what they gained",
    )
    strong_share: Annotated[float, Ge(0), Le(1)] = Field(
        0.3,
        validation_alias="DROVER_STRONG_SHARE",
        description="share of jobs that the strategy learned may send to strong models: those with the largest predicted gain",
    )
    cascade_file: str = Field(
        "",
        validation_alias="DROVER_CASCADE_FILE",
        description="judge of weak answers that `drover lab train` trained (….cascade.npz), for the strategy cascade; read again "
        "when it changes; not set: a few rules",
    )
    cascade_share: Annotated[float, Ge(0), Le(1)] = Field(
        0.3,
        validation_alias="DROVER_CASCADE_SHARE",
        description="share of weak answers that the trained judge may hand to strong models: those with the largest predicted gain",
    )
    cascade_prefix_chars: Annotated[int, Ge(0), Le(100_000)] = Field(
        0,
        validation_alias="DROVER_CASCADE_PREFIX_CHARS",
        description="characters of a streamed weak answer after which it is judged, and told as it comes if they hold; 0 holds it "
        "back until it is whole",
    )
    cascade_patience_s: Seconds = Field(
        120.0,
        validation_alias="DROVER_CASCADE_PATIENCE_S",
        description="seconds that a strong model gets until its first text (its whole answer, when nobody watches); then the weak "
        "answer is given",
    )
    classifier_s: Annotated[float, Ge(0), Le(60)] = Field(
        1.5,
        validation_alias="DROVER_CLASSIFIER_S",
        description="seconds that a small model gets to classify a question, for the strategy llm; later, or with 0, rules decide",
    )
    feedback: Literal["off", "explicit", "all"] = Field(
        "explicit",
        validation_alias="DROVER_FEEDBACK",
        description="what moves a tenant's weights of the hybrid score, and its share of strong calls, within narrow bounds: off; "
        "explicit (ratings: POST /v1/feedback); all (also how long answers take, failures and repeated questions; 3 % of the "
        "jobs then try the second best). Delete feedback.json in DROVER_STATE_DIR to forget what was learned",
    )
    feedback_target_s: Seconds = Field(
        10.0,
        validation_alias="DROVER_FEEDBACK_TARGET_S",
        description="seconds that an answer may take, where feedback listens to clocks",
    )
    state_dir: Path = Field(
        Path(".drover"), validation_alias="DROVER_STATE_DIR", description="directory of what feedback has taught"
    )
    cloud: Literal["never", "allowed", "preferred"] = Field(
        "allowed",
        validation_alias="DROVER_CLOUD",
        description="whether questions may go to paid models: never, where they are hard enough and while no other slot is free "
        "(allowed), or before all others (preferred)",
    )
    weight_tokens: Weight = Field(
        0.4, validation_alias="DROVER_WEIGHT_TOKENS", description="w1: request size against the device's capability"
    )
    weight_topic: Weight = Field(
        0.2, validation_alias="DROVER_WEIGHT_TOPIC", description="w2: similarity to the device's topics"
    )
    weight_health: Weight = Field(
        0.4, validation_alias="DROVER_WEIGHT_HEALTH", description="w3: health, load, heat and latency history"
    )

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not (self.weight_tokens or self.weight_topic or self.weight_health):
            raise ValueError(
                "DROVER_WEIGHT_TOKENS, DROVER_WEIGHT_TOPIC and DROVER_WEIGHT_HEALTH are all 0: one must be more"
            )
        return self
