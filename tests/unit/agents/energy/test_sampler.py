"""The readings of a device, at the pace of its work, on the bus: in virtual time, so that a minute is exact and takes none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from agents.energy.cadence import Cadence
from agents.energy.metering import Metering
from agents.energy.summaries import MOST_WAITING
from agents.energy.usual import Profile
from agents.power import Reading, Unreadable
from agents.telemetry import Readings
from common import codec
from common.bus import Delivery
from common.bus.jetstream import JetStream
from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.bus.memory_streams import MemoryStreams
from common.bus.streams import StreamSpec
from common.clock import LoopClock, loop_s
from common.energy import Energy, PowerSample, PowerSummary
from common.frames import Phase
from common.subjects import Subjects
from tests.simulation.loop import run

IDLE_W, BUSY_W = 5.0, 15.0


class Dial:
    """A reader that shows what a test sets; `broken` is why it shows nothing."""

    name = "dial"

    def __init__(self) -> None:
        self.watts = IDLE_W
        self.most_hz = 20.0
        self.broken: Exception | None = None
        self.reads: list[float] = []

    async def read(self) -> Reading:
        self.reads.append(loop_s())
        if self.broken is not None:
            raise self.broken
        return Reading(
            at_s=loop_s(),
            watts=self.watts,
            rail="VDD_IN",
            source="dial",
            measured=True,
            uncertainty=0.02,
            most_hz=self.most_hz,
            rails={"VDD_IN": self.watts, "VDD_CPU": 1.0},
        )

    async def seek(self) -> None:
        """There is no better one."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """There is nothing to let go of."""


class Desk:
    """A device that is metered, its dial, and all that it says on the bus."""

    def __init__(self, broker: MemoryBroker, bus: MemoryBus) -> None:
        self.broker = broker
        self.bus = bus
        self.dial = Dial()
        self.samples: list[PowerSample] = []
        self.metering = Metering(
            self.dial,
            bus,
            Subjects(),
            device="nano",
            boot="b1",
            cadence=Cadence(busy_hz=5.0, idle_s=10.0),
            clock=LoopClock(),
            profile=lambda: Profile(idle_w=4.0, busy_w=12.0),
            loaded=lambda: True,
            felt=lambda: Readings(temperature_c=51.5, memory_total_bytes=8 << 30, memory_available_bytes=5 << 30),
        )

    def hear(self, delivery: Delivery) -> None:
        self.samples.append(codec.build(PowerSample, codec.decode(delivery.data)))

    async def work(self, seconds: float) -> Energy:
        """Run a job, at the busy draw."""
        charge = self.metering.charge()
        charge.begin(Phase.PREFILL)
        charge.hear()
        self.dial.watts = BUSY_W
        await asyncio.sleep(seconds)
        energy = charge.take()
        charge.leave()
        self.dial.watts = IDLE_W
        assert energy is not None
        return energy


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    broker = MemoryBroker()
    async with connect_memory(broker) as bus, connect_memory(broker) as other, asyncio.TaskGroup() as group:
        one = Desk(broker, bus)
        await other.subscribe("llm.v1.power.nano", one.hear)
        services = [group.create_task(_run(service)) for service in one.metering.services]
        try:
            yield one
        finally:
            for service in services:
                service.cancel()


async def _run(service: Callable[[], Awaitable[None]]) -> None:
    await service()


def test_an_idle_device_is_read_seldom() -> None:
    """After the baseline is known, once in ten seconds; and each reading is told."""

    async def main() -> tuple[int, int]:
        async with desk() as one:
            await asyncio.sleep(60)
            return len([at_s for at_s in one.dial.reads if at_s > 10]), len(one.samples) - len(one.dial.reads)

    assert run(main()) == (5, 0)


def test_a_busy_device_is_read_five_times_a_second_and_told_each_second() -> None:
    """No two samples are further than a second apart while a job runs."""

    async def main() -> tuple[int, float]:
        async with desk() as one:
            await asyncio.sleep(30)
            began_s, before = loop_s(), len(one.samples)
            await one.work(60)
            told = [sample.at_unix_s for sample in one.samples[before:]]
            reads = [at_s for at_s in one.dial.reads if at_s > began_s]
            return len(reads), max(later - sooner for sooner, later in pairwise(told))

    reads, apart_s = run(main())
    assert (reads, apart_s <= 1.0) == (pytest.approx(300, abs=3), True)


def test_a_reader_that_costs_much_is_asked_as_often_as_it_allows() -> None:
    """Twice a second, where each read is a process; a sample still goes out each second."""

    async def main() -> tuple[int, float]:
        async with desk() as one:
            one.dial.most_hz = 2.0
            await asyncio.sleep(30)
            began_s, before = loop_s(), len(one.samples)
            await one.work(60)
            told = [sample.at_unix_s for sample in one.samples[before:]]
            reads = [at_s for at_s in one.dial.reads if at_s > began_s]
            return len(reads), max(later - sooner for sooner, later in pairwise(told))

    reads, apart_s = run(main())
    assert (reads, apart_s <= 1.0) == (pytest.approx(120, abs=3), True)


def test_a_sample_says_it_all() -> None:
    """What is drawn and by which rails, how sure that is, the baseline, the sum, and who works."""

    async def main() -> PowerSample:
        async with desk() as one:
            await asyncio.sleep(20)
            await one.work(10)
            return one.samples[-1]

    sample = run(main())
    assert (
        sample.device,
        sample.boot,
        sample.watts,
        sample.rail,
        sample.source,
        sample.measured,
        sample.uncertainty,
        sample.rails,
        sample.idle_w,
        sample.in_flight,
        sample.energy_j == pytest.approx(20 * IDLE_W + 10 * BUSY_W, abs=BUSY_W),
    ) == ("nano", "b1", BUSY_W, "VDD_IN", "dial", True, 0.02, {"VDD_IN": BUSY_W, "VDD_CPU": 1.0}, IDLE_W, 1, True)


def test_samples_are_numbered() -> None:
    """Who misses one knows it."""

    async def main() -> list[int]:
        async with desk() as one:
            await asyncio.sleep(60)
            return [sample.seq for sample in one.samples]

    numbers = run(main())
    assert numbers == list(range(len(numbers)))


def test_a_job_pays_what_it_took() -> None:
    """Ten seconds at 10 W above the idle draw that was learnt, and not that of the profile."""

    async def main() -> Energy:
        async with desk() as one:
            await asyncio.sleep(20)
            return await one.work(10)

    energy = run(main())
    assert (energy.joules, energy.idle_joules, energy.measured, energy.tokens) == (
        pytest.approx(100, rel=0.01),
        pytest.approx(50, rel=0.01),
        True,
        1,
    )


def test_the_heartbeat_knows_what_was_learnt() -> None:
    """The watts of now, and those of the idle and the busy device as they were read."""

    async def main() -> tuple[object, ...]:
        async with desk() as one:
            await asyncio.sleep(20)
            await one.work(10)
            await asyncio.sleep(5)
            draw = one.metering.draw
            return draw.watts, draw.measured, draw.source, draw.idle_w, draw.busy_w

    assert run(main()) == (IDLE_W, True, "dial", IDLE_W, BUSY_W)


def test_a_reader_that_breaks_is_asked_on() -> None:
    """Its last figure is not told for ever, and when it works again, it is read again."""

    async def main() -> tuple[float | None, float | None]:
        async with desk() as one:
            await asyncio.sleep(20)
            one.dial.broken = Unreadable("the service is gone")
            await asyncio.sleep(60)
            broken = one.metering.draw.watts
            one.dial.broken = None
            await asyncio.sleep(20)
            return broken, one.metering.draw.watts

    assert run(main()) == (None, IDLE_W)


@pytest.mark.parametrize("watts", [float("nan"), float("inf"), -3.0])
def test_watts_that_cant_be_are_none(watts: float) -> None:
    """They are neither told nor added up."""

    async def main() -> tuple[int, float | None]:
        async with desk() as one:
            one.dial.watts = watts
            await asyncio.sleep(60)
            return len(one.samples), one.metering.draw.watts

    assert run(main()) == (0, None)


def kept(stream: JetStream) -> Callable[[], Awaitable[list[PowerSummary]]]:
    async def look() -> list[PowerSummary]:
        found: list[PowerSummary] = []
        seq = 1
        while (one := await stream.next("T", "llm.v1.rec.power.nano", seq)) is not None:
            found.append(codec.build(PowerSummary, codec.decode(one.data)))
            seq = one.seq + 1
        return found

    return look


def summaries(*, lost: bool = False) -> tuple[list[PowerSummary], float]:
    """Let a device idle for 75 s, work for 30, and go 46 later; gives what the stream has, and the joules that it drew. `lost` cuts
    its connection over the first two minutes."""

    async def main() -> tuple[list[PowerSummary], float]:
        async with desk() as one, connect_memory(one.broker) as other:
            twin = MemoryStreams(one.broker)
            streams = JetStream(other)
            await streams.declare(StreamSpec(name="T", subjects=("llm.v1.rec.>",)))
            if lost:
                one.bus.disconnect()
            await asyncio.sleep(75)
            await one.work(30)
            await asyncio.sleep(30)
            if lost:
                one.bus.reconnect()
            await asyncio.sleep(16)
            await one.metering.close()
            await one.bus.flush()
            found = await kept(streams)()
            twin.close()
            return found, 121 * IDLE_W + 30 * BUSY_W

    return run(main())


def test_each_minute_is_summed_up_and_the_last_one_when_the_agent_goes() -> None:
    """Numbered, without a gap, and together all that was drawn."""
    found, drawn_j = summaries()

    assert ([one.seq for one in found], [one.jobs for one in found], sum(one.energy_j for one in found)) == (
        [0, 1, 2],
        [0, 1, 0],
        pytest.approx(drawn_j, rel=0.02),
    )


def test_a_summary_says_what_jobs_were_charged() -> None:
    """Above idle, with the least and the most that was drawn meanwhile."""
    second = summaries()[0][1]

    assert (second.jobs_j, second.least_w, second.most_w, second.mean_w, second.idle_w) == (
        pytest.approx(300, rel=0.02),
        IDLE_W,
        BUSY_W,
        pytest.approx(10, rel=0.05),
        IDLE_W,
    )


def test_a_summary_says_what_the_device_was_like() -> None:
    """How many jobs there were at once on average, 30 s of one in a minute, and heat and memory."""
    first, second, _ = summaries()[0]

    assert [0.0, pytest.approx(0.5, abs=0.02)] == [first.in_flight, second.in_flight]
    assert (51.5, 3 << 30, 8 << 30) == (second.temperature_c, second.memory_used_bytes, second.memory_total_bytes)


def test_what_could_not_be_sent_is_sent_later() -> None:
    """A device that was cut off tells of the minutes that it was, in order and once."""
    assert [one.seq for one in summaries(lost=True)[0]] == [0, 1, 2]


def test_a_summary_that_is_sent_twice_is_stored_once() -> None:
    """Its number in the agent's life is its identity in the stream."""

    async def main() -> list[int]:
        async with desk() as one, connect_memory(one.broker) as other:
            twin = MemoryStreams(one.broker)
            streams = JetStream(other)
            await streams.declare(StreamSpec(name="T", subjects=("llm.v1.rec.>",)))
            heard: list[Delivery] = []
            await other.subscribe("llm.v1.rec.power.nano", heard.append)
            await asyncio.sleep(61)
            await other.publish(heard[0].subject, heard[0].data, headers=heard[0].headers)
            await other.flush()
            found = await kept(streams)()
            twin.close()
            return [one.seq for one in found]

    assert run(main()) == [0]


@asynccontextmanager
async def stream_for(one: Desk) -> AsyncIterator[JetStream]:
    """Put a stream there that keeps what is summed up, as a ledger does, or a server that has started again."""
    async with connect_memory(one.broker) as other:
        twin = MemoryStreams(one.broker)
        streams = JetStream(other)
        await streams.declare(StreamSpec(name="T", subjects=("llm.v1.rec.>",)))
        yield streams
        twin.close()


def test_summaries_wait_for_a_stream_that_is_not_there_yet() -> None:
    """A server that starts again has no stream for a while: what was summed up meanwhile comes when it has, in order."""

    async def main() -> list[int]:
        async with desk() as one:
            await asyncio.sleep(150)
            async with stream_for(one) as streams:
                await asyncio.sleep(60)
                return [summary.seq for summary in await kept(streams)()]

    assert run(main()) == [0, 1, 2]


def test_only_so_many_summaries_wait_and_what_is_lost_is_told() -> None:
    """A fleet without a ledger costs its agents no memory: the oldest go, and a stream that comes after all learns how many."""

    async def main() -> list[int]:
        async with desk() as one:
            await asyncio.sleep(60 * (MOST_WAITING + 3) + 30)
            async with stream_for(one) as streams:
                await asyncio.sleep(60)
                return [summary.seq for summary in await kept(streams)()]

    with capture_logs() as lines:
        numbers = run(main())

    told = [(line["event"], line.get("summaries")) for line in lines if line["event"].startswith("power.summaries")]
    lost = numbers[0]
    assert (numbers, told) == (
        list(range(lost, lost + MOST_WAITING)),
        [("power.summaries_full", None), ("power.summaries_lost", lost)],
    )


def test_what_was_booked_while_nothing_was_read_is_summed_up_later() -> None:
    """A sensor that is away for two minutes, and a job meanwhile: its joules are guessed, but not forgotten."""

    async def main() -> tuple[list[PowerSummary], Energy]:
        async with desk() as one, stream_for(one) as streams:
            await asyncio.sleep(62)
            one.dial.broken = Unreadable("away")
            energy = await one.work(30)
            await asyncio.sleep(90)
            one.dial.broken = None
            await asyncio.sleep(60)
            return await kept(streams)(), energy

    found, energy = run(main())
    assert (
        [(one.seq, one.jobs, one.measured) for one in found],
        found[1].jobs_j,
        [later.from_unix_s - before.to_unix_s for before, later in pairwise(found)],
        sum(one.energy_j for one in found) > energy.joules,
    ) == (
        [(0, 0, True), (1, 1, False), (2, 0, True)][: len(found)],
        pytest.approx(energy.joules, abs=0.01),
        [0.0] * (len(found) - 1),
        True,
    )


def test_an_agent_that_goes_sums_up_what_was_booked_while_nothing_was_read() -> None:
    """The sensor never came back; what its jobs took by guess is in the last summary all the same."""

    async def main() -> tuple[list[PowerSummary], Energy]:
        async with desk() as one, stream_for(one) as streams:
            await asyncio.sleep(62)
            one.dial.broken = Unreadable("away")
            energy = await one.work(30)
            await asyncio.sleep(100)
            await one.metering.close()
            await one.bus.flush()
            return await kept(streams)(), energy

    found, energy = run(main())
    assert ([(one.seq, one.jobs, one.measured) for one in found], found[-1].jobs_j) == (
        [(0, 0, True), (1, 1, False)],
        pytest.approx(energy.joules, abs=0.01),
    )
