"""From a device's frames to the sums that people are shown: delivery, account, record, stream and tables say the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common import energy
from common.bus import Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.memory_streams import MemoryStreams
from common.energy import Energy
from common.errors import BackendError
from common.ledger import By, EnergyQuery, EnergyRow
from common.records import JOB
from dispatcher.cli.energy_view import total
from dispatcher.ledger import queries
from dispatcher.ledger.database import Database
from dispatcher.ledger.store import Store
from dispatcher.settings import RoutingSection
from tests.integration.dispatcher.house import Connect, House, open_house
from tests.integration.dispatcher.scripted import Attempt, Script, until
from tests.integration.ledger.builders import SUBJECTS, came_raw

HOT = {"temperature_c": 89.0}
"""What makes routing prefer the other device."""


def took(joules: float, **fields: object) -> Energy:
    seen = {"measured": True, "source": "ina3221", "uncertainty": 0.02, "idle_joules": joules / 2} | fields
    return Energy(joules=joules, **seen)  # type: ignore[arg-type]


def writes(taken: Energy, *texts: str) -> Script:
    """Answer, and say what it took."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens(*texts)
        await attempt.end(energy=taken)

    return play


def breaks(taken: Energy, *texts: str, seen: asyncio.Event | None = None) -> Script:
    """Begin, give up when it was `seen`, and say what it took."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.tokens(*texts)
        if seen is not None:
            await seen.wait()
        await attempt.fail(BackendError("out of memory", energy=energy.to_wire(taken)))

    return play


@asynccontextmanager
async def wires() -> AsyncIterator[Connect]:
    """A server that has streams."""
    broker = MemoryBroker()
    MemoryStreams(broker)
    yield lambda: connect_memory(broker)


@asynccontextmanager
async def telling_house() -> AsyncIterator[tuple[House, list[Delivery]]]:
    """A dispatcher with a tariff that tells the ledger, and what it tells of jobs."""
    tariff = RoutingSection(tariff_per_kwh=360.0, grid_g_per_kwh=36_000.0)
    async with open_house(wires, ledger=True, routing=tariff) as house:
        told: list[Delivery] = []
        await house.world.subscribe(SUBJECTS.record(JOB, "*"), told.append)
        yield house, told


async def filled(database: Database, told: list[Delivery], number: int) -> None:
    """Wait for so many records, and write them."""
    await until(lambda: len(told) >= number, f"{number} records")
    await Store(database).write([came_raw(one.subject, one.data, seq) for seq, one in enumerate(told, 1)])


async def summed(database: Database, by: By) -> dict[str, EnergyRow]:
    return {row.key: row for row in await queries.sum_energy(database, EnergyQuery(by=by))}


def drawn(row: EnergyRow) -> tuple[object, ...]:
    return tuple(pytest.approx(value) for value in (row.joules, row.idle_joules, row.lost_joules, row.measured_share))


async def test_the_sums_are_the_receipts(database: Database) -> None:
    """50 J of a device that failed and 30 J of the one that answered in 100 tokens are 0.8 J a token, by whatever is summed."""
    async with telling_house() as (house, told):
        await house.device("bad", breaks(took(50.0)))
        await house.device("good", writes(took(30.0, tokens=100), *["x"] * 100), **HOT)
        receipt = (await (await house.stream()).end()).energy
        await filled(database, told, 1)
    assert receipt is not None
    devices = await summed(database, By.DEVICE)

    assert (80.0, 50.0, 0.8, 0.008) == (receipt.joules, receipt.lost_joules, receipt.joules_per_token, receipt.cost)
    for by in By:
        whole = total(list((await summed(database, by)).values()))
        assert (by, receipt.joules, receipt.lost_joules, receipt.joules_per_token) == (
            by,
            pytest.approx(whole.joules),
            pytest.approx(whole.lost_joules),
            pytest.approx(whole.joules_per_token),
        )
        assert (pytest.approx(whole.idle_joules, rel=1e-5), pytest.approx(whole.cost), pytest.approx(whole.co2e_g)) == (
            receipt.idle_joules,
            receipt.cost,
            receipt.co2e_g,
        )
    assert {"bad": (50.0, 25.0, 50.0, 1.0), "good": (30.0, 15.0, 0.0, 1.0)} == {
        name: drawn(row) for name, row in devices.items()
    }


async def test_who_began_an_answer_has_its_part_of_it(database: Database) -> None:
    """The text of the first device was given, so nothing is lost; the tokens are told once."""
    async with telling_house() as (house, told):
        await house.device("bad", breaks(took(8.0, tokens=2), "Once upon ", "a time ", seen=(seen := asyncio.Event())))
        await house.device("good", writes(took(4.0, tokens=2), "there ", "was"), **HOT)
        stream = await house.stream()
        await until(lambda: stream.text == "Once upon a time ", "the text is visible")
        seen.set()
        end = await stream.end()
        await filled(database, told, 1)
    [row] = (await summed(database, By.TENANT)).values()
    devices = await summed(database, By.DEVICE)

    assert end.energy is not None
    assert (12.0, 0.0, end.usage.completion_tokens) == (row.joules, row.lost_joules, end.energy.tokens)
    assert end.energy.joules_per_token == pytest.approx(row.joules_per_token, rel=1e-5)
    assert {"bad": 4.0} == {name: one.joules_per_token for name, one in devices.items() if name == "bad"}


async def test_of_a_failed_job_all_is_lost(database: Database) -> None:
    """In the account of its error, and in the sums."""
    async with telling_house() as (house, told):
        await house.device("bad", breaks(took(6.0, lost_joules=1.0)))
        error = await (await house.stream()).error()
        await filled(database, told, 1)
    [row] = (await summed(database, By.DEVICE)).values()

    assert error.route is not None
    assert (6.0, 6.0) == (error.route["energy"]["joules"], error.route["energy"]["lost_joules"])
    assert ("bad", 6.0, 6.0, None) == (row.key, row.joules, row.lost_joules, row.joules_per_token)
