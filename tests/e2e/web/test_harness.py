"""The harness of these tests: the real page is well, and each check finds what it is for on one that is made to be bad."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

import dispatcher.bridge
from common.keys import Scope
from tests.browser import THEMES, WIDTHS, Visit, opened, overflow
from tests.e2e.web.houses import EVERYTHING, House, ScriptedHouse
from tests.scripted_fleet import ScriptedJob

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DEVICES = ("nano", "orin", "pi5")
"""Of the house whose devices are simulated."""

BAD = """() => {
  const made = (kind, properties) => Object.assign(document.createElement(kind), properties);
  const wide = made("pre", { id: "wide", textContent: "x".repeat(400) });
  wide.style.overflow = "visible";
  const pale = made("p", { id: "pale", textContent: "hardly to be read" });
  pale.style.cssText = "color: #777; background: #888";
  const bare = made("button", { id: "bare", type: "button" });
  bare.style.cssText = "display: block; outline: none; border: 0; background: #333; box-shadow: none";
  const near = made("button", { id: "near", type: "button", ariaLabel: "Near" });
  near.style.cssText = "display: block; padding: 0; border: 1px solid";
  for (const small of [bare, near]) Object.assign(small.style, { width: "16px", height: "16px", minHeight: 0 });
  const hidden = made("button", { id: "hidden", type: "button", textContent: "below" });
  hidden.style.cssText = "position: absolute; left: -9999px";
  const trap = made("input", { id: "trap", ariaLabel: "Trap" });
  trap.addEventListener("keydown", (event) => event.key === "Tab" && event.preventDefault());
  const after = made("a", { id: "after", href: "#after", textContent: "After the trap" });
  document.querySelector("#view").append(wide, pale, bare, near, hidden, trap, after);
}"""


VENDOR = Path(dispatcher.bridge.__file__).parent / "ui" / "vendor"
USE = """async (addresses) => {
  const address = (name) => addresses.find((one) => new RegExp(`/${name}-[0-9]`).test(one));
  const { h, render } = await import(address("preact"));
  const { useState, useEffect } = await import(address("preact-hooks"));
  const { default: htm } = await import(address("htm"));
  const { default: uPlot } = await import(address("uplot"));
  const { default: DOMPurify } = await import(address("dompurify"));
  const { markup } = await import(`/ui/${JSON.parse(document.body.dataset.boot).edition}/core/html.js`);
  const html = htm.bind(h);
  function Counter() {
    const [count, setCount] = useState(1);
    useEffect(() => { setCount(2); }, []);
    return html`<p id="drawn">1 and then ${count}</p>`;
  }
  const place = document.querySelector("#view").appendChild(document.createElement("div"));
  render(html`<${Counter} />`, place);
  const plot = new uPlot({ width: 200, height: 100, series: [{}, { stroke: "red" }] }, [[1, 2, 3], [3, 1, 2]], place);
  const cleaned = DOMPurify.sanitize("<b>kept</b><i>not</i>", { ALLOWED_TAGS: ["b"], TRUSTED_TYPES_POLICY: markup });
  return [String(cleaned), plot.root.isConnected && plot.ctx.canvas.width > 0];
}"""


async def test_the_page_as_it_is_has_no_faults(browser: Browser, scripted: ScriptedHouse) -> None:
    """One load shows it in every look, each on a screenshot; by keyboard everything is reached; nothing was noted."""
    async with opened(browser, scripted.url) as visit:
        await _drawn(visit)
        faults = await visit.inspected("harness")
        walk = await visit.walked()
        path = await visit.snap("harness-whole", whole=True)

    assert (faults, walk.faults) == ([], [])
    assert walk.names[0] == "link Skip to the page's content"
    assert {"button New chat", "textbox Your message", "combobox Model"} <= set(walk.names)
    pictures = [path.with_name(f"harness-{theme}-{width}.png") for theme in THEMES for width in WIDTHS]
    assert all(one.read_bytes().startswith(b"\x89PNG") for one in [path, *pictures])


async def test_what_is_bad_is_found(browser: Browser, scripted: ScriptedHouse) -> None:
    """Each check names the element that it is about."""
    async with opened(browser, scripted.url, width=320) as visit:
        await _drawn(visit)
        await visit.page.evaluate(BAD)
        wide, found, walk = await overflow(visit.page), await visit.barriers(), await visit.walked()

    assert [("px wide in a window of 320" in one, 'id="wide"' in one) for one in wide] == [(True, True)]
    assert _about(found, "pale") == {"color-contrast (serious)"}
    assert _about(found, "bare") == {"button-name (critical)", "target-size (serious)"}
    assert _told(walk.faults, "bare") == {"does not show that it has the focus", "has no name"}
    assert _told(walk.faults, "hidden") == {"cannot be seen"}
    assert [one.split(" <")[0] for one in walk.faults if 'id="trap"' in one] == ["Tab does not lead out of"]
    assert [one.split(" <")[0] for one in walk.faults if 'id="after"' in one] == ["Tab never leads to"]


WRONG = """() => {
  new Image().src = "https://outside.example/dot.png";
  document.body.append(Object.assign(document.createElement("style"), { textContent: "p { color: red }" }));
  try { document.body.innerHTML = "<b>x</b>"; } catch { /* it is reported all the same */ }
  console.warn("a word of warning");
  console.error("a welcome word");
  setTimeout(() => { throw new Error("nobody caught me"); });
}"""


async def test_what_a_page_does_wrong_is_noted(browser: Browser, scripted: ScriptedHouse) -> None:
    """What the policy refuses, what is said on the console but for what a test expects, an error that nobody caught: all of them
    fail the visit, once its test is over."""

    async def well_but_for_that() -> None:
        async with opened(browser, scripted.url) as visit:
            visit.welcome.append("a welcome word")
            await visit.page.evaluate(WRONG)

    with pytest.raises(AssertionError) as caught:
        await well_but_for_that()
    noted = str(caught.value)

    for said in (
        "img-src refused https://outside.example/dot.png",
        "style-src-elem refused inline",
        "require-trusted-types-for refused trusted-types-sink",
        "a word of warning",
        "uncaught: Error: nobody caught me",
    ):
        assert said in noted, said
    assert "a welcome word" not in noted


async def test_a_request_that_leaves_the_bridge_is_noted_and_comes_nowhere(
    browser: Browser, scripted: ScriptedHouse
) -> None:
    """Also from a page without a policy that would refuse it: the network cable is out."""

    async def asks_outside() -> None:
        async with opened(browser, scripted.url, bypass_csp=True) as visit:
            visit.welcome.append("ERR_NAME_NOT_RESOLVED")
            await visit.page.evaluate("() => fetch('https://outside.example/dot.png').catch(() => {})")

    with pytest.raises(AssertionError, match=r"left the bridge: https://outside\.example/dot\.png$"):
        await asks_outside()


async def test_an_exact_state_can_be_held(browser: Browser, scripted: ScriptedHouse) -> None:
    """The scripted house says what a test writes, for as long as it wants."""
    seen = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.stay(seen, "queue", position=3)
        await job.route("orin", "llama3.2:3b")
        await job.stay(seen, "load", eta_s=4.0)
        await job.token("Done.")
        await job.end()

    scripted.fleet.script = script
    async with opened(browser, scripted.url, theme="dark", width=320) as visit:
        await _asks(visit, "Why?")
        await expect(visit.page.locator(".turn").last).to_contain_text("Queued, position 3")
        seen.set()
        await expect(visit.page.locator(".turn").last).to_contain_text("Done.")


async def test_the_house_answers_and_has_a_past(browser: Browser, house: House) -> None:
    """Three simulated devices, each with a job that the ledger has; the page asks one of them."""
    async with opened(browser, house.url) as visit:
        await expect(visit.page.locator("#standing-text")).to_have_text("3 devices ready")
        await _asks(visit, "Hello?")
        await expect(visit.page.locator(".route").last).to_be_visible()
        # Of each one: the newest of all may be another test's.
        asked = [visit.page.context.request.get(f"{house.url}/api/v1/jobs?device={one}&limit=1") for one in DEVICES]
        jobs = [job for answer in asked for job in (await (await answer).json())["jobs"]]

    assert [job["device"] for job in jobs] == list(DEVICES)
    assert [len(house.processes(device)) for device in DEVICES] == [2, 2, 2]


async def test_a_key_opens_what_it_may_see(browser: Browser, house: House) -> None:
    """The bridge beside it asks for keys: a visit that has one is let in, with its rights and no others."""
    url = await house.keyed()
    seen = {}
    for scopes in (EVERYTHING, (Scope.CHAT,)):
        async with opened(browser, url, key=await house.key(*scopes)) as visit:
            await expect(visit.page.locator("#door")).to_be_hidden()
            seen[scopes] = (await visit.page.context.request.get(f"{url}/api/v1/devices")).status

    assert seen == {EVERYTHING: 200, (Scope.CHAT,): 403}
    assert await house.key(Scope.CHAT) == await house.key(Scope.CHAT)


async def test_the_modules_of_others_work_under_the_page_s_policy(browser: Browser, scripted: ScriptedHouse) -> None:
    """Preact with its hooks and htm draw, uPlot plots, DOMPurify cleans: each imported as the pages import it, nothing refused."""
    async with opened(browser, scripted.url) as visit:
        await _drawn(visit)
        names = await visit.page.evaluate(USE, [f"/ui/vendor/{path.name}" for path in sorted(VENDOR.glob("*.mjs"))])
        await expect(visit.page.locator("#drawn")).to_have_text("1 and then 2")

    assert names == ["<b>kept</b>not", True]


def _about(found: list[str], name: str) -> set[str]:
    """The rules that name an element."""
    return {one.split(":")[0] for one in found if f'id="{name}"' in one}


def _told(faults: list[str], name: str) -> set[str]:
    """What a walk says of an element."""
    return {one.split(": <")[0] for one in faults if f'id="{name}"' in one}


async def _drawn(visit: Visit) -> None:
    """Return when the view is there: what was put in its place before would go."""
    await expect(visit.page.get_by_label("Your message")).to_be_visible()
    await expect(visit.page.locator("#standing-text")).to_have_text("2 devices ready")


async def _asks(visit: Visit, text: str) -> None:
    await visit.page.get_by_label("Your message").fill(text)
    await visit.page.get_by_label("Your message").press("Enter")
