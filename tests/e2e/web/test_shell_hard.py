"""The page where it is hard: a bridge that dies and comes back as another edition, a device that dies, and those who mean harm."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

import dispatcher
from common import key_client
from common.key_requests import AddKey
from dispatcher.bridge.pages.views import VIEWS
from tests.bridge_process import BridgeProcess, bridge_process
from tests.browser import Visit, opened
from tests.e2e.web.chats import Chat, welcomed
from tests.e2e.web.gateway import gateway
from tests.e2e.web.houses import DEVICES, SUBJECTS, House, ScriptedHouse, known
from tests.e2e.web.payloads import DOES, XSS
from tests.integration.ledger.builders import job, payload, subject_of
from tests.scripted_fleet import ScriptedFleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CONTROLLED = """(edition) => new Promise((done) => {
  const look = () => {
    const { controller } = navigator.serviceWorker;
    if (!controller?.scriptURL.endsWith(edition)) return;
    controller.onstatechange = () => controller.state === "activated" && done(caches.keys());
    controller.onstatechange();
  };
  navigator.serviceWorker.addEventListener("controllerchange", look);
  look();
})"""
"""A worker controls the pages of the one before it while it still deletes what that has kept."""

AGAIN_MS = 90_000
"""After so long at most a page asks a bridge again that was gone for a while."""

OLD = re.compile(r"heard ([4-9]|\d\d) s ago")

GO = """(address) => {
  history.pushState(null, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
}"""


async def test_a_bridge_that_dies_is_missed_and_its_next_edition_is_taken(
    browser: Browser, scripted: ScriptedHouse, tmp_path: Path
) -> None:
    """The page can be installed. With the bridge killed it says so in its head and how old its cards are, and whoever opens a view
    is told how to mend it. Both come back by themselves with the next bridge, the open page without a reload; as that has other
    modules, the first one that is wanted has the page read anew, and what was kept of the old edition is deleted."""
    settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "off"}
    async with bridge_process(scripted.nats.url, **settings) as first:
        await _heard(first, scripted.fleet)
        async with opened(browser, first.url, "/fleet") as visit:
            visit.welcome += ["ERR_", " 404 ", "Failed to fetch dynamically", "Refused to apply style"]
            page, standing = visit.page, visit.page.locator("#standing-text")
            await expect(standing).to_have_text("2 devices ready")
            edition = await _edition(page)
            kept = [await page.evaluate(CONTROLLED, edition)]
            faults = await _installed(page, first.url)
            await page.evaluate("window.stayed = true")
            first.process.kill()
            await first.process.wait()
            await expect(standing).to_have_text("No word from the bridge")
            await expect(page.locator(".device .seen").first).to_have_text(OLD)
            await visit.snap("shell-no-bridge")
            other = Visit(await page.context.new_page(), first.url, visit.look)
            await other.page.goto(f"{first.url}/energy")
            await expect(other.page.get_by_role("heading")).to_have_text("The bridge can't be reached")
            faults += await other.inspected("shell-offline")
            edge = await other.page.evaluate("document.querySelector('h1').getBoundingClientRect().left")
            more = {"PYTHONPATH": str(_another_edition(tmp_path)), "DROVER_HTTP_PORT": str(first.port)}
            async with bridge_process(scripted.nats.url, **settings, **more) as second:
                await _heard(second, scripted.fleet)
                await expect(other.page.locator("#view h1")).to_have_text("Energy and cost")
                await expect(standing).to_have_text("2 devices ready", timeout=AGAIN_MS)
                stayed = await page.evaluate("window.stayed")
                await page.get_by_role("link", name="Latency").click()
                await expect(page.locator("#view h1")).to_have_text("Latency")
                editions = edition, await _edition(page)
                kept.append(await page.evaluate(CONTROLLED, editions[1]))
                await other.page.close()

    assert faults == []
    assert (stayed, edge > 0) == (True, True)
    assert editions[0] != editions[1]
    assert [[f"drover-{one}"] for one in editions] == kept


async def test_a_device_that_dies_while_it_writes_is_named_and_another_goes_on(browser: Browser, house: House) -> None:
    """Killed with its server, as by a power cut: what it wrote stays, the page says who is lost, and the answer is completed by
    another one. The fleet's line counts it no more, until it is there again."""
    async with opened(browser, house.url) as visit:
        chat = Chat(welcomed(visit), None)  # type: ignore[arg-type]  # these devices are real ones, if simulated
        for device in ("nano", "orin", "pi5"):
            await _slow(house, device, {"kind": "slow", "factor": 40})
        await chat.ask("Tell me in 300 words how a queue works.")
        await expect(chat.words).to_contain_text("] ")
        wrote = await chat.words.inner_text()
        lost = wrote.removeprefix("[simulated ").partition("/")[0]
        victims = house.processes(lost)
        others = {"nano", "orin", "pi5"} - {lost}
        for device in others:
            await _slow(house, device, {"kind": "none"})
        for one in victims:
            one.kill()
        await expect(chat.page.locator(".turn")).to_contain_text(f"{lost} is lost")
        await chat.answered()
        answered_by = await chat.page.locator("[data-fact=device]").inner_text()
        text = await chat.words.inner_text()
        await expect(chat.page.locator("#standing-text")).to_have_text("3 devices ready")

    assert answered_by.split()[-1] in others
    assert text.startswith(wrote)


async def test_the_policy_has_nothing_to_report(browser: Browser, house: House) -> None:
    """Markup in addresses, in titles of conversations, in names of keys and models, in reasons and errors: each view shows it as
    text, and browsers report nothing to where the policy would have them. What it refuses on purpose is reported."""
    names = [one for one in XSS if len(one) <= 100]
    await _planted(house, names)
    hurt = quote(f'"><img src=x onerror={DOES}>')
    async with gateway(house.url) as door, opened(browser, door.url, "/fleet") as visit:
        visit.welcome += [" 4(00|04) ", "does not conform to the required format"]
        page, view = visit.page, visit.page.locator("#view")
        for path, shows in _places(hurt, names):
            await page.evaluate(GO, path)
            await expect(view.locator("h1")).to_have_text(
                next(one.title for one in VIEWS if one.path == path.split("?")[0])
            )
            await expect(view).to_contain_text(shows)
        made = await page.evaluate(
            "[window.hurt ?? null, document.querySelectorAll('#view :is(script, iframe, img)').length]"
        )
        quiet = [*door.reports, *visit.refused, *visit.outside]
        await page.evaluate("new Image().src = 'https://outside.example/dot.png'")
        await door.until(lambda: bool(door.reports))
        await visit.settled()
        told = list(visit.refused)
        for noted in visit.refused, visit.outside, visit.complaints:
            noted.clear()

    assert (quiet, made) == ([], [None, 0])
    assert ["outside.example" in one for one in door.reports] == [True]
    assert ["img-src" in one for one in told] == [True]


def _places(hurt: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Give where markup stands, and some of what is read there."""
    return [
        (f"/?conversation={hurt}", "Chat"),
        (f"/compare?q={hurt}", "Compare"),
        (f"/fleet?q={hurt}&device={hurt}", "Show all devices"),
        (f"/explain?job={hurt}", "onerror"),
        (f"/latency?model={hurt}", "onerror"),
        (f"/energy?day={hurt}", "Energy"),
        ("/conversations", names[0]),
        (f"/conversations?q={hurt}", "Search"),
        (f"/experiments?id={hurt}", "Experiments"),
        ("/activity", names[-1]),
        (f"/activity?job={hurt}&device={hurt}", "onerror"),
        ("/keys", names[2]),
    ]


async def _planted(house: House, names: Sequence[str]) -> None:
    """Have markup kept: as titles, as names, as what went wrong."""
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=30) as http:
        for name in names[:8]:
            made = await http.post("/api/v1/conversations", json={"title": name})
            assert made.status_code == 201, made.text
    for number, name in enumerate(names):
        entry = job(
            700 + number, state="failed", model=names[number % 9], error="no_device", error_message=name, reason=name
        )
        await house.bus.publish(subject_of(entry), payload(entry))
    for name in names[:3]:
        await key_client.add(house.bus, SUBJECTS, AddKey(name=name))


async def _installed(page: Page, url: str) -> list[str]:
    """Give what keeps the browser from installing the page, after its manifest and the icons in it were read."""
    session = await page.context.new_cdp_session(page)
    manifest = await session.send("Page.getAppManifest")
    found = (await session.send("Page.getInstallabilityErrors"))["installabilityErrors"]
    await session.detach()
    # Where a browser keeps nothing, as in a context of a test, it installs nothing.
    faults = [str(one) for one in (*manifest["errors"], *found) if one.get("errorId") != "in-incognito"]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        told = (await http.get("/manifest.webmanifest")).json()
        for icon in told["icons"]:
            file = await http.get(icon["src"])
            faults += (
                [f"{icon}: {file.headers['content-type']}"] if file.headers["content-type"] != icon["type"] else []
            )
            faults += [f"{icon}: {_size(file.content)}"] if icon["sizes"] not in ("any", _size(file.content)) else []
    faults += [f"no {name}" for name in ("name", "short_name", "start_url", "scope", "display") if not told.get(name)]
    return faults


def _size(png: bytes) -> str:
    return f"{int.from_bytes(png[16:20])}x{int.from_bytes(png[20:24])}"


def _another_edition(directory: Path) -> Path:
    """Give a folder with this bridge, but for one word of its style."""
    source = Path(dispatcher.__file__).parent
    shutil.copytree(
        source, directory / "dispatcher", copy_function=os.symlink, ignore=shutil.ignore_patterns("__pycache__")
    )
    style = directory / "dispatcher" / "bridge" / "ui" / "style" / "parts.css"
    text = style.read_text()
    style.unlink()
    style.write_text(text + "/* another edition */\n")
    return directory


async def _edition(page: Page) -> str:
    return str(await page.evaluate("JSON.parse(document.body.dataset.boot).edition"))


async def _heard(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """Have a bridge that was started late hear of the devices."""
    for device, models in DEVICES.items():
        await fleet.beat(device, models)
    await known(bridge.url, devices=len(DEVICES))


async def _slow(house: House, device: str, fault: dict[str, Any]) -> None:
    """Have a device's server write as slowly as a real one does, or no more."""
    agent, _ = house.processes(device)
    async with httpx.AsyncClient(trust_env=False) as http:
        done = await http.post(f"{agent.environ()['OLLAMA_HOST']}/sim/faults", json=fault)
    assert done.status_code == 200, done.text
