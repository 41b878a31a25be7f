"""The views of figures: how long answers took, and what they took and cost."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from common import codec
from common.messages import Heartbeat, ModelInfo
from common.records import JobEntry
from tests.bridge_process import bridge_process
from tests.browser import HANG_S, opened
from tests.e2e.web.houses import DEVICES, GUARD_S, POLL_S, SUBJECTS, ScriptedHouse, known, scripted_house
from tests.integration.ledger.builders import hit, job
from tests.integration.ledger.ledgers import tell, until
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, scripted_fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MODEL = "figures:1b"
"""No other test's: it tells these answers from theirs."""

WORDLESS = "wordless:1b"
"""Of its answers nobody knows when the first token came."""

DRAWN = """(all) => all.map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value) => value !== 0);
})"""

TEXTS = "(all) => all.map((row) => [...row.querySelectorAll('td')].map((one) => one.innerText))"

SHADES = """() => [...new Set([...document.querySelectorAll(".heat i")].map((one) => getComputedStyle(one).backgroundColor))]
  .filter((colour) => !colour.endsWith(", 0)"))"""
"""The colours of the cells that have any answers."""

LOST = ("Lost", "Of this cancelled")
BEYOND = """() => [...document.querySelectorAll(".table")].flatMap((frame) => [...frame.querySelectorAll("th")]
  .filter((one) => /answer$|token$|Change/.test(one.textContent))
  .filter((one) => one.getBoundingClientRect().right > frame.getBoundingClientRect().right)
  .map((one) => one.textContent))"""
"""The columns that are looked for first, and end beyond the frame of their table."""


@dataclass(frozen=True, slots=True)
class Past:
    """A house whose ledger has a day with three jobs, one on the day before, and seven of `MODEL` some minutes ago; yesterday's
    first and last; and a `dear` day, on which more was paid than it would have cost in the cloud, one job was cancelled and one
    never ran."""

    house: ScriptedHouse
    day: str
    dear: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def past(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Past]:
    """In a house of its own: a bridge knows a device for an hour after its last word, and here is one more."""
    async with scripted_house(tmp_path_factory.mktemp("past")) as house:
        await house.anew()
        yield await _lived(house)


async def _lived(house: ScriptedHouse) -> Past:
    now = datetime.now().astimezone()
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    dear = noon - timedelta(days=20)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    entries = [*_days(noon), *_dear(dear), *_lately(now.timestamp() - 300), *_yesterday(midnight)]
    for entry in entries:
        await tell(house.fleet.bus, entry)
    async with httpx.AsyncClient(base_url=house.url, timeout=GUARD_S, trust_env=False) as http:
        wanted = {entry.record for entry in entries}

        async def written() -> bool:
            told = (await http.get("/api/v1/jobs", params={"limit": 100})).json()
            return wanted <= {one["record"] for one in told.get("jobs", ())}

        await until(written)
    return Past(house, noon.strftime("%Y-%m-%d"), dear.strftime("%Y-%m-%d"))


def _days(noon: datetime) -> Sequence[JobEntry]:
    at, before = noon.timestamp(), (noon - timedelta(days=1)).timestamp()
    return [*(job(900 + nth, received_unix_s=at + nth) for nth in range(3)), job(910, received_unix_s=before)]


def _dear(noon: datetime) -> Sequence[JobEntry]:
    at = noon.timestamp()
    nothing: dict[str, Any] = {"received_unix_s": at, "cost_usd": None, "saved_usd": None, "cloud_usd": None}
    refused = job(963, state="refused", device=None, model=None, site=None, energy=None, attempts=(), **nothing)
    paid = [job(960, received_unix_s=at, saved_usd=1.0), job(961, received_unix_s=at + 7200, saved_usd=-3.0)]
    return [*paid, job(962, state="cancelled", **nothing), refused]


def _yesterday(midnight: datetime) -> Sequence[JobEntry]:
    before = midnight - timedelta(days=1)
    return [job(970, received_unix_s=before.timestamp()), job(971, received_unix_s=midnight.timestamp() - 1)]


def _lately(at: float) -> Sequence[JobEntry]:
    quick = [job(920 + nth, first_token_s=0.25, total_s=0.5) for nth in range(3)]
    others = [job(930, first_token_s=2.0, total_s=4.0), job(940, state="failed"), job(941, state="cancelled"), hit(950)]
    wordless = job(980, received_unix_s=at, model=WORDLESS, first_token_s=None)
    return [wordless, *(replace(one, received_unix_s=at, model=MODEL) for one in [*quick, *others])]


async def _draw(fleet: ScriptedFleet) -> None:
    """Say what devices draw: one by a sensor, one by a guess."""
    await fleet.beat("orin", DEVICES["orin"], watts=7.5, watts_measured=True, watts_source="ina3221")
    await fleet.beat("nano", DEVICES["nano"], watts=2.5, watts_measured=False, watts_source="model")


async def _rows(page: Page, name: str) -> list[list[str]]:
    """Give the text of a table, without its head; at once, since what was read anew meanwhile would have rows told twice."""
    rows = page.get_by_role("region", name=name, exact=True).locator("tbody tr")
    return list(await rows.evaluate_all(TEXTS))


async def _drawn(page: Page, number: int) -> list[bool]:
    """Tell of so many charts whether anything is drawn there, when all are there at once: as time goes on, and when it gets another
    width, one is drawn anew, and away until then."""
    async with asyncio.timeout(HANG_S):
        while True:
            drawn: list[bool] = await page.locator(".uplot canvas").evaluate_all(DRAWN)
            if len(drawn) == number:
                return drawn
            await asyncio.sleep(POLL_S)


async def test_latency_is_a_map_lines_and_tables(browser: Browser, past: Past) -> None:
    """The first token apart from the whole, each with its percentiles in words; what failed and what the cache gave is counted
    apart. A new answer comes by itself; the cell under the cursor is told; the map is a table as well. A time that no answer has
    told is said to be unknown. A day has 24 hours at the axis. It holds in every look."""
    async with opened(browser, past.house.url, f"/latency?period=900&model={MODEL}") as visit:
        page = visit.page
        heat = page.get_by_role("application", name="Total: when, and how long. 4 answers: p50 0.50 s, p95 4.00 s")
        await expect(heat).to_be_visible()
        await expect(page.get_by_role("img", name="4 answers: p50 0.25 s, p95 2.00 s, p99 2.00 s.")).to_be_visible()
        drawn = await _drawn(page, 2)
        shades = await page.evaluate(SHADES)
        tick = await page.locator(".ticks").last.locator("span").first.inner_text()
        ended = await page.locator(".facts").first.inner_text()
        by_device = await _rows(page, "By device")
        faults, walk = await visit.inspected("latency"), await visit.walked()

        await tell(past.house.fleet.bus, replace(_lately(time.time())[4], record=f"01{990:024d}"))
        await expect(page.get_by_text("5 answers: p50 0.50 s")).to_have_count(2)
        told = await _cell_of(page, 3)
        await page.get_by_role("button", name="Table of Total: when, and how long").click()
        cells = await _rows(page, "Total: when, and how long")
        await page.get_by_role("radio", name="First token").check()
        await page.get_by_role("combobox", name="Device").select_option("orin")
        await expect(page.get_by_role("heading", name="First token: when, and how long")).to_be_visible()
        address = page.url
        await page.get_by_role("combobox", name="Model").select_option(WORDLESS)
        await expect(page.locator(".empty")).to_have_text("No answer here has told this.")
        await expect(page.get_by_role("img", name="No answer here has told this.")).to_be_visible()
        await expect(page.get_by_role("img", name="1 answers: p50")).to_be_visible()

    assert (faults, walk.faults, drawn) == ([], [], [True] * 2)
    assert len(shades) == 2
    assert re.fullmatch(r"\d\d:\d\d", tick)
    assert " ".join(ended.split()) == (
        "Answered by models 4 From the cache 1 in none of the times Failed 1 Refused 0 Cancelled 1"
    )
    assert by_device == [["orin", "4", "0.25 s", "2.00 s", "2.00 s", "0.50 s", "4.00 s", "4.00 s"]]
    assert ", 0.45 s to 0.54 s: 3" in told
    assert sorted(int(one) for row in cells for one in row[1:] if one != "0") == [1, 1, 3]
    assert {"device=orin", "time=first_token"} <= set(address.partition("?")[2].split("&"))


async def _cell_of(page: Page, count: int) -> str:
    """Go through the heat map by arrow keys to a cell with so many, on the lowest line that has any, and give what is told."""
    for _ in range(3):
        await page.locator(".heat").press("ArrowUp")
    for _ in range(60):
        said = await page.get_by_role("status").inner_text()
        if said.endswith(f": {count}"):
            return said
        await page.keyboard.press("ArrowLeft")
    return said


async def test_energy_is_compared_and_says_what_it_stands_on(browser: Browser, past: Past) -> None:
    """The watts that are drawn now, measured or estimated; a day beside the one before, in joules, money and carbon; by device and
    by model; the price that savings stand on, and where it is set. The period is in the address; a day that never was
    is today, and that is compared with as much of yesterday. What was paid beyond the cloud's price is no saving. What cancelling
    lost is told apart, and what took nothing is in no table. It holds in every look; in an ordinary
    window the energy of an answer and of a token is seen at once."""
    priced = ModelInfo(name="gpt-4o", input_usd_per_mtok=2.5, output_usd_per_mtok=10.0)
    cloud = Heartbeat(device="cloud", boot="b1", seq=1, interval_s=60.0, models=(priced,), remote=True)
    await past.house.fleet.bus.publish(SUBJECTS.heartbeat("cloud"), codec.encode(codec.plain(cloud)))
    await _draw(past.house.fleet)
    await known(past.house.url, devices=3)
    async with opened(browser, past.house.url, f"/energy?day={past.day}") as visit:
        page = visit.page
        await expect(page.get_by_text("10 W 2.5 W estimated, 7.5 W measured; 2 of 2 devices")).to_be_visible()
        await expect(page.get_by_role("img", name="This day: 10 mWh, at most 10 mWh in one hour.")).to_be_visible()
        await expect(page.get_by_text("100 % of this energy was measured")).to_be_visible()
        await expect(page.get_by_text("Each answer was priced when it ended.")).to_be_visible()
        await expect(page.get_by_text("$0.38 saved, $0.75 really paid.")).to_be_visible()
        await expect(page.get_by_text("gpt-4o@cloud takes $2.50 for a million tokens in, $10.00 out")).to_be_visible()
        await expect(page.get_by_text("cloud_reference")).to_be_visible()
        compared, by_device = await _rows(page, "This period and the one before"), await _rows(page, "Energy by device")
        faults, walk = await visit.inspected("energy"), await visit.walked()
        await page.get_by_role("radio", name="7 days").check()
        await expect(
            page.get_by_role("img", name="These 7 days: 13.3 mWh, at most 10 mWh in one step.")
        ).to_be_visible()
        address = page.url
        await page.goto(f"{past.house.url}/energy?day=2024-02-30")
        await expect(page.locator("input[type=date]")).to_have_value(time.strftime("%Y-%m-%d"))
        await expect(page.locator("thead", has_text="What")).to_contain_text("Day before, until then")
        so_far = await _rows(page, "This period and the one before")
        await page.locator("input[type=date]").fill(past.dear)
        await expect(page.get_by_text("$2.00 overpaid, $0.50 really paid.")).to_be_visible()
        lost = [row[:2] for row in await _rows(page, "This period and the one before") if row[0] in LOST]
        names = [row[0] for row in await _rows(page, "Energy by device")]
        await visit.seen_as("light", 1280, 850)
        beyond = await page.evaluate(BEYOND)

    assert (faults, walk.faults) == ([], [])
    assert compared == [
        ["Energy of answers", "10 mWh", "3.33 mWh", "+200 %"],
        ["Energy an answer", "12 J", "12 J", "+0 %"],
        ["Energy a token", "1.2 J", "1.2 J", "+0 %"],
        ["Idle meanwhile", "2.5 mWh", "0.833 mWh", "+200 %"],
        ["Lost", "1.67 mWh", "0.556 mWh", "+200 %"],
        ["Of this cancelled", "0 mWh", "0 mWh", "\N{EN DASH}"],
        ["Answers", "3", "1", "+200 %"],
        ["Of these with energy", "3", "1", "+200 %"],
        ["Cost of the energy", "€1.80", "€0.60", "+200 %"],
        ["CO2e", "3.6 g", "1.2 g", "+200 %"],
        ["Paid for cloud models", "$0.75", "$0.25", "+200 %"],
        ["If all were in the cloud", "$1.13", "$0.38", "+200 %"],
        ["Saved against that", "$0.38", "$0.13", "+200 %"],
    ]
    assert [(row[0], row[1], row[3]) for row in by_device] == [
        ("orin", "8.33 mWh", "1 J"),
        ("nano", "1.67 mWh", "\N{EN DASH}"),
    ]
    assert "days=7" in address
    assert [row[2] for row in so_far if row[0] == "Answers"] == ["1"]
    assert lost == [["Lost", "1.67 mWh"], ["Of this cancelled", "0.556 mWh"]]
    assert (names, beyond) == (["orin", "nano"], [])


async def test_without_a_ledger_the_reason_and_the_watts_are_there(browser: Browser) -> None:
    """What was is refused in words that name the way out, in both views; what is drawn now is known all the same."""
    async with nats_server() as nats, scripted_fleet(nats.url) as fleet, bridge_process(nats.url) as bridge:
        await _draw(fleet)
        await known(bridge.url, devices=2)
        async with opened(browser, bridge.url, "/energy") as visit:
            visit.welcome.append(r" 503 ")
            await expect(visit.page.get_by_text("10 W 2.5 W estimated, 7.5 W measured")).to_be_visible()
            await expect(visit.page.get_by_role("alert")).to_contain_text("drover ledger serve")
            barriers = await visit.barriers()
            await visit.page.get_by_role("link", name="Latency").click()
            await expect(visit.page.get_by_role("heading", name="Latency")).to_be_visible()
            await expect(visit.page.get_by_role("alert")).to_contain_text("drover ledger serve")

    assert barriers == []
