"""The streams, consumers and the bucket of the durable lane, as they should be; it knows no job."""

from __future__ import annotations

from common.bus.streams import ConsumerSpec, Retention, Streams, StreamSpec, bucket_spec
from common.durable import Names
from common.messages import Priority
from common.subjects import Subjects
from dispatcher.settings import DurableSection

CLAIM_AGE_S = 3600.0
"""A claim is renewed every few seconds; one that nobody has touched for an hour is only litter."""

RESUBMIT_S = 600.0
"""A producer that is not sure sends again within this time, and the job is stored once."""

MOST_DELIVERIES = 1_000_000
"""Dispatchers count the tries of a job, and the server its deliveries: it also counts a job that was only handed on, because a
dispatcher stopped or the fleet had no place. This is no limit, at one delivery a second, for ten days."""

DEAD_AGE_S = 30 * 86_400.0
DEAD_MOST_BYTES = 64 << 20
JANITOR = "janitor"


async def declare(streams: Streams, names: Names, subjects: Subjects, settings: DurableSection) -> None:
    """Have everything be there. Raises `StreamsUnavailable` where the server keeps no streams."""
    for spec in _streams(names, subjects, settings):
        await streams.declare(spec)
    for priority in Priority:
        await streams.declare_consumer(
            ConsumerSpec(
                stream=names.jobs,
                name=priority,
                subject=subjects.jobs("*", priority),
                ack_wait_s=settings.ack_wait_s,
                max_deliver=MOST_DELIVERIES,
            )
        )
    await streams.declare_consumer(
        ConsumerSpec(stream=names.advisories, name=JANITOR, subject=exhausted(names), ack_wait_s=30.0, max_deliver=1000)
    )


def exhausted(names: Names) -> str:
    """Where the server tells of a job that was delivered as often as it may be; it sends that once, and keeps nothing itself."""
    return f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{names.jobs}.*"


def _streams(names: Names, subjects: Subjects, settings: DurableSection) -> tuple[StreamSpec, ...]:
    return (
        StreamSpec(
            name=names.jobs,
            # Another class has no reader: a job in it is refused at once, instead of lying there for ever.
            subjects=tuple(subjects.jobs("*", priority) for priority in Priority),
            retention=Retention.WORK_QUEUE,
            max_messages=settings.queue_limit,
            max_bytes=settings.queue_limit_bytes,
            duplicate_window_s=RESUBMIT_S,
        ),
        StreamSpec(
            name=names.results,
            subjects=(subjects.result("*", "*"),),
            max_age_s=settings.result_age_s,
            max_bytes=settings.results_limit_bytes,
            duplicate_window_s=RESUBMIT_S,
            drop_oldest=True,
        ),
        StreamSpec(
            name=names.dead,
            subjects=(subjects.dead("*", "*"),),
            max_age_s=DEAD_AGE_S,
            max_bytes=DEAD_MOST_BYTES,
            duplicate_window_s=RESUBMIT_S,
            drop_oldest=True,
        ),
        StreamSpec(
            name=names.advisories,
            subjects=(exhausted(names),),
            retention=Retention.WORK_QUEUE,
            max_messages=100_000,
            drop_oldest=True,
        ),
        # In memory: a claim says who works on a job now. A server that dies forgets it, and its holder makes it anew.
        bucket_spec(names.claims, max_age_s=CLAIM_AGE_S, in_memory=True),
    )
