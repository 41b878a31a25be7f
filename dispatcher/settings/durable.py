"""The knobs of the durable lane; it knows no code that turns them."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le
from pydantic import Field

from common.settings import Section


class DurableSection(Section):
    """The durable lane: jobs that lie in a stream of the NATS server until their result is stored."""

    enabled: bool = Field(
        default=True,
        validation_alias="DROVER_DURABLE",
        description="take jobs from the durable queue, if the NATS server runs with JetStream",
    )
    queue_limit: Annotated[int, Ge(1)] = Field(
        100_000,
        validation_alias="DROVER_DURABLE_QUEUE_LIMIT",
        description="durable jobs that may lie in the queue; above it they are refused",
    )
    queue_limit_bytes: Annotated[int, Ge(1 << 20)] = Field(
        256 << 20,
        validation_alias="DROVER_DURABLE_QUEUE_LIMIT_BYTES",
        description="bytes that the durable queue may take on the NATS server's disk; the server sets them aside at once",
    )
    ack_wait_s: Annotated[float, Ge(0.5), Le(600)] = Field(
        10.0,
        validation_alias="DROVER_DURABLE_ACK_WAIT_S",
        description="seconds after its last sign of life until a dead dispatcher's durable job goes to another one",
    )
    tries: Annotated[int, Ge(1), Le(1000)] = Field(
        5,
        validation_alias="DROVER_DURABLE_TRIES",
        description="how often a durable job is given to a device before it is a dead letter, or dies ten times as often with "
        "dispatchers that had not brought it to one yet",
    )
    try_s: Annotated[float, Gt(0), Le(86_400)] = Field(
        3600.0,
        validation_alias="DROVER_DURABLE_TRY_S",
        description="seconds that one try of a durable job may take from when a device gets it; the wait for one does not count",
    )
    first_delay_s: Annotated[float, Gt(0), Le(3600)] = Field(
        1.0,
        validation_alias="DROVER_DURABLE_FIRST_DELAY_S",
        description="seconds until a durable job that failed is tried again; fourfold at each further try",
    )
    longest_delay_s: Annotated[float, Gt(0), Le(3600)] = Field(
        60.0, validation_alias="DROVER_DURABLE_LONGEST_DELAY_S", description="the longest such delay in seconds"
    )
    life_s: Annotated[float, Gt(0), Le(30 * 86_400)] = Field(
        86_400.0,
        validation_alias="DROVER_DURABLE_LIFE_S",
        description="seconds from its submission until a durable job that names no deadline is given up",
    )
    steady_s: Annotated[float, Gt(0), Le(30 * 86_400)] = Field(
        300.0,
        validation_alias="DROVER_DURABLE_STEADY_S",
        description="seconds for which no device was away or changed before a durable job whose model none has is given up",
    )
    result_age_s: Annotated[float, Ge(60), Le(30 * 86_400)] = Field(
        3600.0,
        validation_alias="DROVER_DURABLE_RESULT_AGE_S",
        description="seconds for which the results of durable jobs are kept",
    )
    results_limit_bytes: Annotated[int, Ge(1 << 20)] = Field(
        256 << 20,
        validation_alias="DROVER_DURABLE_RESULTS_LIMIT_BYTES",
        description="bytes that they may take, set aside at once; above it the oldest are forgotten early",
    )
    sweep_s: Annotated[float, Gt(0), Le(3600)] = Field(
        60.0,
        validation_alias="DROVER_DURABLE_SWEEP_S",
        description="seconds between two searches for jobs that lie in the queue and come no more, except after a reconnect",
    )
