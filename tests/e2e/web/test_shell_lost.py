"""The page when things are lost: the bridge's word, a module, an answer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest
from playwright.async_api import Browser, Route, expect

from common.messages import DeviceState
from dispatcher.bridge.live.hub import MOST_OF_USER
from tests.browser import HANG_S, STILL, opened
from tests.e2e.web.gateway import gateway
from tests.e2e.web.houses import DEVICES, House, ScriptedHouse

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

STREAM = "/ui/events"
GONE = "No word from the bridge"
ALMOST_SILENT_MS, STEP_MS = 12_000, 200
"""Steps are shorter than the time after which a page asks again. The clock of a test goes on by itself as well: what the page asked
before the bridge was back it waits for in vain once more."""

NO_WORKER = """SharedWorker = class extends EventTarget {
  port = new MessageChannel().port1;
  constructor() {
    super();
    queueMicrotask(() => this.onerror(new Event("error")));
  }
};"""
"""As where the script of the worker is gone: the page follows by itself, and by the clock of the test."""

HIDDEN = 'Object.defineProperty(document, "hidden", { configurable: true, get: () => true });'

SEEN = """() => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => false });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

READING = """async () => {
  const core = (name) => import(`/ui/${JSON.parse(document.body.dataset.boot).edition}/core/${name}.js`);
  const { html, show } = await core("html");
  const { useRead } = await core("parts");
  window.answers = [];
  function Reader({ by, everyS }) {
    const read = () => new Promise((give, refuse) => answers.push({ give, refuse }));
    const { value, error, busy } = useRead(read, [by], everyS);
    return html`<p id="read">${value ?? "nothing"} ${error?.message} ${busy ? "busy" : "idle"}</p>`;
  }
  const place = document.querySelector("#view").appendChild(document.createElement("div"));
  window.read = (by, everyS) => show(html`<${Reader} by=${by} everyS=${everyS} />`, place);
}"""

LATE = """async () => {
  AbortSignal.timeout = (ms) => {
    const clock = new AbortController();
    window.expire = () => clock.abort(new DOMException(`${ms}`, "TimeoutError"));
    return clock.signal;
  };
  const { get } = await import(`/ui/${JSON.parse(document.body.dataset.boot).edition}/core/api.js`);
  window.told = get("/api/v1/limits").catch(({ name, code, message }) => [name, code, message]);
}"""

TO_COPY = """() => {
  const [frame, text, button] = ["div", "pre", "button"].map((name) => document.createElement(name));
  Object.assign(button, { className: "copy", textContent: "Copy" });
  frame.className = "pre";
  frame.append(text, button);
  document.querySelector("#view").append(frame);
}"""

WORKER = """async (edition) => {
  const { script } = await import(`/ui/${JSON.parse(document.body.dataset.boot).edition}/core/html.js`);
  const { installing } = await navigator.serviceWorker.register(script(`/sw.js?edition=${edition}`));
  return await new Promise((done) => {
    installing.onstatechange = async () => done([installing.state, await (await caches.open(`drover-${edition}`)).keys()]);
  });
}"""


async def test_a_bridge_that_falls_silent_is_missed(browser: Browser, scripted: ScriptedHouse) -> None:
    """Its connection stays open, and nothing comes: after three times the time in which it would tell its clock the page says so,
    once also to those who hear it, and how old its cards are. It asks again, and says when the bridge is back. All of that
    without the worker that tabs share."""
    async with gateway(scripted.url) as door, opened(browser, door.url, STILL) as visit:
        page, standing = visit.page, visit.page.locator("#standing-text")
        await page.add_init_script(NO_WORKER)
        await page.clock.install()
        await page.goto(f"{door.url}/fleet")
        await expect(standing).to_have_text("2 devices ready")
        door.silenced.add(STREAM)
        await page.clock.run_for(ALMOST_SILENT_MS)
        while await standing.text_content() == "2 devices ready":
            await page.clock.run_for(STEP_MS)
        await expect(standing).to_have_text(GONE)
        await expect(page.locator("#lost")).to_contain_text("Check that Drover runs.")
        heard = [await page.locator("#announce").text_content()]
        door.silenced.clear()
        while await standing.text_content() == GONE:
            await page.clock.run_for(STEP_MS)
        await expect(standing).to_have_text("2 devices ready")
        await expect(page.locator("#announce")).to_have_text("The bridge is back")
        await expect(page.locator("#lost")).to_be_hidden()

    assert heard == [GONE]


async def test_why_the_bridge_tells_nothing_is_said(browser: Browser, scripted: ScriptedHouse) -> None:
    """A stream that it refuses is no bridge that is gone: the page says what the bridge says, and asks again by itself."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=scripted.url, trust_env=False, timeout=HANG_S)
        )
        streams = [await stack.enter_async_context(http.stream("GET", STREAM)) for _ in range(MOST_OF_USER)]
        async with opened(browser, scripted.url, "/keys") as visit:
            visit.welcome.append(" 429 ")
            await expect(visit.page.locator("#lost")).to_contain_text("50 of one user: close some.")
            for stream in streams:
                await stream.aclose()
            await expect(visit.page.locator("#standing-text")).to_have_text("2 devices ready")


async def test_a_tab_that_opens_behind_another_is_told_all_when_it_is_seen(
    browser: Browser, scripted: ScriptedHouse
) -> None:
    """What went on meanwhile it has not missed: no tab that nobody sees is told anything."""
    async with opened(browser, scripted.url, "/fleet") as visit:
        await expect(visit.page.locator("#standing-text")).to_have_text("2 devices ready")
        behind = await visit.page.context.new_page()
        await behind.add_init_script(HIDDEN)
        await behind.goto(f"{scripted.url}/fleet")
        await expect(behind.get_by_text("Listening for devices")).to_be_visible()
        for device in DEVICES:
            await scripted.fleet.beat(device, DEVICES[device], state=DeviceState.DRAINING)
        await expect(visit.page.locator("#standing-text")).not_to_have_text("2 devices ready")
        unseen = await behind.locator("#standing-text").text_content()
        await behind.evaluate(SEEN)
        await expect(behind.locator(".device .state")).to_have_text(["draining: takes nothing new"] * 2)

    assert unseen == "Looking for the fleet"


async def test_a_module_that_is_not_there_is_told(browser: Browser, house: House) -> None:
    """Of a view that is read first, and of what draws its charts: the page says so, and reads itself anew on demand. Whoever goes
    back before a view has come stays on the one that the address names."""
    async with opened(browser, house.url, STILL, service_workers="block") as visit:
        visit.welcome += [
            " 404 ",
            "blocked by Playwright",
            "Refused: A part of this page",
            "Failed to fetch dynamically",
        ]
        page, title = visit.page, visit.page.locator("#view h1")
        await page.route("**/views/energy.js", _gone)
        await page.goto(f"{house.url}/energy")
        await expect(page.get_by_role("alert")).to_contain_text("A part of this page can't be loaded.")
        await page.unroute("**/views/energy.js")
        await page.route("**/vendor/uplot-*", _gone)
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".figure .refusal").first).to_contain_text("A part of this page can't be loaded.")
        held, asked = asyncio.Event(), asyncio.Event()

        async def later(route: Route) -> None:
            asked.set()
            await held.wait()
            await route.continue_()

        await page.route("**/views/compare.js", later)
        await page.get_by_role("link", name="Compare").click()
        await asked.wait()
        await page.go_back()
        async with page.expect_response("**/views/compare.js"):
            held.set()
        await visit.settled()
        back = (await title.text_content(), page.url.removeprefix(house.url).partition("?")[0])
        length = await page.evaluate("history.length")
        for _ in range(3):
            await page.keyboard.down("8")
        await page.keyboard.up("8")
        await expect(title).to_have_text("Experiments")
        await page.get_by_role("link", name="Experiments").click()
        entries = await page.evaluate("history.length") - length

    assert back == ("Energy and cost", "/energy")
    assert entries == 0  # the one that led to Compare is the one that leads to Experiments


async def test_answers_are_waited_for_and_not_for_ever(browser: Browser, scripted: ScriptedHouse) -> None:
    """What is read every five seconds and takes longer is not given up for the next; what was read for one choice does not stand
    under another that is refused. A bridge that never answers is given up, in words. A page that a proxy gives in the
    bridge's place is not kept as the one that says that no bridge answers. That something was copied is said for a while."""
    async with gateway(scripted.url) as door, opened(browser, door.url, "/keys") as visit:
        visit.welcome += [" 502 ", "ServiceWorker"]
        page, read = visit.page, visit.page.locator("#read")
        await expect(page.locator("#view h1")).to_have_text("Keys and limits")  # what was put there before would go
        await page.clock.install()
        await page.evaluate(READING)
        await page.evaluate("void read('this', 5)")
        await page.clock.run_for(20_000)
        begun = [await page.evaluate("answers.length")]
        await page.evaluate("answers[0].give('first')")
        await expect(read).to_have_text("first  idle")
        await page.clock.run_for(5_500)
        begun.append(await page.evaluate("answers.length"))
        await page.evaluate("answers[1].refuse(new Error('refused'))")
        await expect(read).to_have_text("first refused idle")
        await page.evaluate("void read('that', 5)")
        await expect(read).to_have_text("first refused busy")
        await page.evaluate("answers[2].refuse(new Error('refused'))")
        await expect(read).to_have_text("nothing refused idle")
        door.silenced.add("/api/v1/limits")
        await page.evaluate(LATE)
        await door.until(lambda: bool(door.open["/api/v1/limits"]))
        name, code, message = await page.evaluate("expire() ?? told")
        door.refused.add("/offline")
        kept = await page.evaluate(WORKER, "another")
        await page.evaluate(TO_COPY)
        await page.locator(".copy").evaluate("(button) => button.click()")
        await expect(page.locator(".copy")).to_have_text("Copied")
        await page.clock.run_for(3_500)
        await expect(page.locator(".copy")).to_have_text("Copy")

    assert begun == [1, 2]
    assert (code, message.partition(".")[0]) == ("late", "The bridge has not answered within 30 s"), name
    assert kept == ["redundant", []]


async def _gone(route: Route) -> None:
    await route.fulfill(status=404)
