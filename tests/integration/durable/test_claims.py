"""Who works on what, decided between dispatchers by compare-and-set on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from common.bus.jetstream import JetStream
from common.bus.nats import NatsOptions, connect_nats
from common.bus.streams import Bucket, bucket_spec
from common.durable import Stage
from dispatcher.durable.claims import Claims
from dispatcher.durable.janitor import Office
from tests.integration.dispatcher.scripted import answer
from tests.integration.durable.world import dispatching, world
from tests.nats_server import nats_server


@pytest.fixture
async def bucket() -> AsyncIterator[Bucket]:
    async with nats_server(jetstream=True) as server, connect_nats(NatsOptions(urls=(server.url,))) as bus:
        streams = JetStream(bus)
        await streams.declare(bucket_spec("C", max_age_s=60, in_memory=True))
        yield streams.bucket("C")


async def test_one_of_two_has_it(bucket: Bucket) -> None:
    """A second message with the same job waits until the first is done; released, it is free."""
    one, two = Claims(bucket, "one"), Claims(bucket, "two")
    mine = await one.take("t.job", seq=1)
    theirs = await two.take("t.job", seq=2)
    assert mine is not None
    holder = await two.holder("t.job")
    await one.release(mine)
    later = await two.take("t.job", seq=2)

    assert holder is not None
    assert (None, "one", 1, True) == (theirs, holder.name, holder.seq, later is not None)


async def test_a_redelivery_proves_that_the_holder_is_gone(bucket: Bucket) -> None:
    """Whoever is delivered the very message takes the claim over, and the one before finds that it is no longer his."""
    one, two = Claims(bucket, "one"), Claims(bucket, "two")
    before = await one.take("t.job", seq=1)
    after = await two.take("t.job", seq=1)
    assert before is not None
    assert after is not None
    kept = [await two.renew(after), await one.renew(before)]
    await one.release(before)  # too late: it is not his to give up
    holder = await one.holder("t.job")

    assert holder is not None
    assert ([True, False], "two") == (kept, holder.name)


@pytest.mark.parametrize(("reached", "counted"), [(False, (1, 1)), (True, (2, 0))])
async def test_a_holder_that_is_lost_costs_a_try_only_with_a_device(
    bucket: Bucket, reached: bool, counted: tuple[int, int]
) -> None:
    """That he had brought the job to a device is told with his next sign of life."""
    one, two = Claims(bucket, "one"), Claims(bucket, "two")
    before = await one.take("t.job", seq=1)
    assert before is not None
    before.reached = reached
    await one.renew(before)
    after = await two.take("t.job", seq=1)

    assert after is not None
    assert counted == (after.tries, after.losses)


async def test_a_bucket_that_was_forgotten(bucket: Bucket) -> None:
    """A server that was restarted knows no claim: the next sign of life makes it anew, unless somebody was faster."""
    one, two = Claims(bucket, "one"), Claims(bucket, "two")
    mine = await one.take("t.job", seq=1)
    assert mine is not None
    await bucket.delete(mine.revision)
    again = await one.renew(mine)
    await bucket.delete(mine.revision)
    theirs = await two.take("t.job", seq=1)
    lost = await one.renew(mine)

    assert (True, True, False) == (again, theirs is not None, lost)


async def test_one_janitor_at_a_time(bucket: Bucket) -> None:
    """The lease is one dispatcher's until it leaves, or has not renewed it for longer than it lasts."""
    now_s = [0.0]
    one, two = (Office(bucket, name, 10.0, lambda: now_s[0]) for name in ("one", "two"))
    first = [await one.hold(), await two.hold()]
    now_s[0] = 9.0
    renewed = [await one.hold(), await two.hold()]
    now_s[0] = 18.0  # nine seconds after the last renewal
    early = await two.hold()
    now_s[0] = 19.5
    late = [await two.hold(), await one.hold()]
    await two.leave()
    again = await one.hold()

    assert ([True, False], [True, False], False, [True, False], True) == (first, renewed, early, late, again)


async def test_two_dispatchers_share_the_queue() -> None:
    """Each job is run once, whoever takes it, and all are answered; who is quicker may take most of them."""
    async with world() as here:
        device = await here.device("nano", answer("ok"), slots=4)
        async with dispatching(here), dispatching(here):
            jobs = [await here.submit(f"{number}") for number in range(40)]
            states = [(await here.over(job)).state for job in jobs]
            await here.empty()
        runs = [attempt.dispatch.job for attempt in device.attempts if attempt.dispatch.attempt == 1]
    assert [Stage.DONE] * 40 == states
    assert sorted(jobs) == sorted(set(runs))
    assert len(runs) == len(set(runs))
