"""The view of the fleet: its cards and its map, what operators may have devices do, and what a device was like."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from common import codec
from common.keys import Scope
from common.messages import ModelInfo
from tests.browser import STILL, WIDTHS, barriers, opened, overflow
from tests.e2e.web.houses import House, ScriptedHouse

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

GIB = 1 << 30
NOW_S = int(time.time()) // 60 * 60

WELL: dict[str, Any] = {
    "slots": 2,
    "in_flight": 1,
    "memory_total_bytes": 8 * GIB,
    "memory_available_bytes": 6 * GIB,
    "temperature_c": 61.2,
    "throttled": True,
    "throttling": ("the power supply is too weak",),
    "warnings": ("its disk is nearly full",),
    "watts": 7.25,
    "watts_measured": True,
    "watts_source": "ina3221",
    "models": (
        ModelInfo(name="llama3.2:3b", loaded=True, memory_bytes=2 * GIB, expires_unix_s=NOW_S + 600.0),
        ModelInfo(name="<b>moon</b>:1b"),
    ),
}

OWN_STREAM = "delete globalThis.SharedWorker"
"""Requests of a worker that tabs share are not the page's, and can't be answered by a test."""


async def test_a_card_says_how_its_device_is(browser: Browser, scripted: ScriptedHouse) -> None:
    """State, age, memory, power and where that is from, heat and why it throttles, models and how long they stay; what is not
    known is left out. The map names each device and leads to its card. The cards can be sought, sorted and walked by keyboard."""
    await scripted.fleet.beat("orin", **WELL)
    async with opened(browser, scripted.url, "/fleet?sort=watts") as visit:
        page = visit.page
        card = page.locator(".device", has=page.get_by_role("link", name="orin", exact=True))
        await expect(card.get_by_role("meter")).to_have_attribute("aria-label", "Memory: 25 % of 8 GiB")
        told = await card.inner_text()
        bare = await page.locator(".device").last.inner_text()
        await page.get_by_role("link", name="orin, ready, 7.25 W, memory 25 % used").press("Enter")
        focus = await page.evaluate("document.activeElement.id")
        faults, walk = await visit.inspected("fleet"), await visit.walked()
        await page.get_by_label("Name, state or model").fill("MOON")
        await expect(page.locator(".device h2")).to_have_text(["orin"])
        address = page.url
        await page.get_by_label("Name, state or model").fill("no such")
        await page.get_by_role("button", name="Show all devices").click()
        await expect(page.locator(".device h2")).to_have_text(["orin", "nano"])

    for fact in (
        "ready",
        "s ago · simulated",
        "7.25 W measured",
        "ina3221",
        "61 °C\nthrottled",
        "1 of 2",
        "the power supply is too weak",
        "its disk is nearly full",
        "llama3.2:3b 2 GiB, leaves memory in",
        "1 on disk",
    ):
        assert " ".join(fact.split()) in " ".join(told.split())
    assert not any(word in bare for word in ("Power", "Heat", "Memory", "undefined", "NaN"))
    assert focus == "device-orin"
    assert (faults, walk.faults) == ([], [])
    assert {"link orin", "button Drain orin", "combobox A model to load on orin"} <= set(walk.names)
    assert address.endswith("/fleet?sort=watts&q=MOON")


async def test_what_is_silent_says_that_its_figures_are_old(browser: Browser, scripted: ScriptedHouse) -> None:
    """A device whose heartbeats stop is told to be lost, in words, and its figures to be the last; nothing can
    be ordered of it, and the head counts who is ready of all. What is refused to an operator stands on the card in full."""
    await scripted.fleet.beat("nano", (), interval_s=0.2, watts=3.0, watts_measured=False)
    async with opened(browser, scripted.url, "/fleet") as visit:
        visit.welcome.append("502")
        page = visit.page
        card = page.locator(".device").first
        await expect(card).to_contain_text("lost")
        await expect(card).to_contain_text("these are its last figures")
        await expect(page.get_by_role("link", name="nano, lost, 3 W")).to_be_visible()
        await expect(page.locator("#standing-text")).to_have_text("1 of 2 devices ready")
        await expect(page.locator("#standing")).to_have_attribute("data-state", "part")
        await page.set_viewport_size({"width": 320, "height": 850})
        cut = await page.locator("#standing-text").evaluate("(one) => one.scrollHeight > one.clientHeight")
        await visit.snap("fleet-head-narrow")
        orders = await card.get_by_role("button").count()
        told = await card.inner_text()
        await page.get_by_role("button", name="Drain orin").click()
        refused = page.locator(".device").last.get_by_role("alert")
        await expect(refused).to_contain_text("Device orin does not answer")
        await expect(refused).to_contain_text("orin goes on as before")
        await visit.snap("fleet-silent", whole=True)
        faults = await barriers(page)

    assert "No word for" in told
    assert "3 W estimated" in " ".join(told.split())
    assert (orders, "Jobs" in told, "dead" in told, cut) == (0, False, False, False)
    assert faults == []


async def test_operators_drain_a_device_have_it_resume_and_load(browser: Browser, house: House) -> None:
    """The outcome is announced, the card follows, and the focus stays where it was, also where it has gone on meanwhile; without
    admin there are no orders. What the ledger knows of the device opens by its address."""
    async with opened(browser, house.url, "/fleet?q=pi5") as visit:
        page = visit.page
        state = page.locator(".device .state")
        await page.get_by_role("button", name="Drain pi5").press("Enter")
        await expect(page.locator("#announce")).to_have_text("pi5 is draining")
        await expect(state).to_have_text("draining: takes nothing new")
        await page.get_by_role("button", name="Resume pi5").press("Enter")
        await expect(page.locator("#announce")).to_have_text("pi5 is ready")
        await expect(state).to_have_text("ready")
        focus = await page.evaluate("document.activeElement.ariaLabel")
        models = page.get_by_label("A model to load on pi5")
        model = await models.locator("option").nth(1).inner_text()
        await models.select_option(model)
        await page.get_by_role("button", name=f"Load {model} on pi5").press("Enter")
        await expect(page.locator("#announce")).to_have_text(f"{model} on pi5 is loaded")
        await expect(models).to_be_focused()
        await expect(page.locator(".models b", has_text=model)).to_be_visible()

        async def once_typed(route: Route) -> None:
            await page.get_by_label("Name, state or model").press("Control+a")
            await page.keyboard.type("PI")
            await route.fulfill(json={"state": "loaded"})

        await page.route("**/load", once_typed)
        other = await models.locator("option").nth(1).inner_text()
        await models.select_option(other)
        await page.get_by_role("button", name=f"Load {other} on pi5").click()
        await expect(page.locator("#announce")).to_have_text(f"{other} on pi5 is loaded")
        await page.keyboard.type("5")
        await expect(page).to_have_url(f"{house.url}/fleet?q=PI5")

    async with opened(
        browser, await house.keyed(), "/fleet?device=pi5", key=await house.key(Scope.CHAT, Scope.FLEET)
    ) as visit:
        await expect(visit.page.locator(".device")).to_have_count(3)
        await expect(visit.page.get_by_role("dialog").locator("tbody tr").last).to_contain_text("joined")
        orders = await visit.page.locator(".device footer").count()

    assert focus == "Drain pi5"
    assert orders == 0


async def test_many_devices_none_and_what_one_was_like(browser: Browser, scripted: ScriptedHouse) -> None:
    """An empty fleet says how an agent is started, and a link that breaks off says so above all; sixty devices fit every window.
    What a device was like is drawn, said in words and listed, for all of the time that is chosen, and stands in the address; Back
    leaves it. One clock goes for all cards, and a name's own slash is no step of an address."""
    async with opened(browser, scripted.url, STILL) as visit:
        visit.welcome += ["events", "offline"]
        page = visit.page
        await page.add_init_script(OWN_STREAM + CLOCKS)
        await tells(page, [])
        await page.goto(f"{scripted.url}/fleet")
        await expect(page.locator(".empty")).to_contain_text("drover-agent")
        await expect(page.locator(".refusal")).to_contain_text("No word from the bridge.")
        await tells(page, [*(card(number) for number in range(59)), {**card(60), "name": "rack/7"}])
        await page.route("**/history?*", lambda route: route.fulfill(json=HISTORY))
        await page.goto(f"{scripted.url}/fleet?sort=state")
        await page.get_by_role("link", name="d7", exact=True).click()
        sheet = page.get_by_role("dialog")
        await expect(sheet.get_by_role("img")).to_have_count(3)
        await expect(sheet.locator("canvas")).to_have_count(3)
        await visit.snap("fleet-history")
        said = [await one.get_attribute("aria-label") for one in await sheet.get_by_role("img").all()]
        events = await sheet.get_by_role("region").locator("tbody tr").all_inner_texts()
        faults = await barriers(page)
        await sheet.get_by_role("button", name="Table of Power").click()
        await expect(sheet.get_by_role("region", name="Power").locator("tbody tr")).to_have_count(60)
        await sheet.get_by_label("Day").check()
        await expect(page).to_have_url(f"{scripted.url}/fleet?sort=state&device=d7&span=86400")
        await page.go_back()
        await expect(sheet).to_have_count(0)
        await expect(page).to_have_url(f"{scripted.url}/fleet?sort=state")
        await expect(page.locator(".device")).to_have_count(60)
        clocks = await page.evaluate("clocks.length")
        await page.route("**/drain", lambda route: route.fulfill(json={"state": "draining"}))
        async with page.expect_request("**/drain") as ordered:
            await page.get_by_role("button", name="Drain rack/7").click()
        await page.locator(".map summary").click()
        for width in WIDTHS:
            await visit.seen_as("dark", width)
            await visit.snap(f"fleet-sixty-{width}")
            faults += await overflow(page)

    assert said == [
        "2 W to 6 W, 4 W at last, measured",
        "40 °C to 42 °C, 42 °C at last",
        "0 to 1, 0.5 at last",
    ]
    assert [one.split("\t")[1:] for one in events] == [["lost", "ready", "no heartbeat for 30 s"]]
    assert (clocks, (await ordered.value).url) == (1, f"{scripted.url}/api/v1/devices/rack%2F7/drain")
    assert faults == []


CLOCKS = """;
const every = setInterval;
globalThis.clocks = [];
globalThis.setInterval = (does, ms, ...more) => {
  if (ms === 1000) clocks.push(does);
  return every(does, ms, ...more);
};"""
"""Those that are started to tell the seconds."""

HISTORY = {
    "device": "d7",
    "since_unix_s": NOW_S - 3600,
    "until_unix_s": NOW_S,
    "step_s": 60,
    "points": [
        {"from_unix_s": NOW_S - 600 + 60 * at, "watts": w, "measured_share": 1.0, "temperature_c": c, "in_flight": jobs}
        for at, w, c, jobs in ((0, 2.0, 40.0, 0.0), (1, 6.0, 41.0, 1.0), (5, 4.0, 42.0, 0.5))
    ],
    "events": [{"at_unix_s": NOW_S - 60, "event": "dead", "state": "ready", "why": "no heartbeat for 30 s"}],
}


def card(number: int) -> dict[str, Any]:
    """Give one of many devices, as the stream tells it."""
    state = ("ready", "draining", "faulty", "dead", "starting")[number % 5]
    return {
        "name": f"d{number}",
        "state": state,
        "liveness": "dead" if state == "dead" else "alive",
        "seen_unix_s": NOW_S - number,
        "slots": 1,
        "free_slots": 1,
        "in_flight": 0,
        "models": [],
        "watts": 1.5,
        "watts_measured": number % 2 == 0,
        "memory_total_bytes": GIB,
        "memory_available_bytes": GIB * number // 60,
    }


async def tells(page: Page, devices: list[dict[str, Any]]) -> None:
    """Have the stream tell these devices, and break off."""
    told = codec.encode({"whole": True, "devices": devices}).decode()
    body = f"retry: 600000\nevent: devices\ndata: {told}\n\n"
    await page.route("**/ui/events", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
