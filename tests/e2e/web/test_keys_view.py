"""The view of keys and limits, on bridges that ask for keys: a person's own, an administrator's all, and the first one of all."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from common import key_client
from common.key_requests import AddKey, Limit
from common.keys import Period, Scope, Unit
from tests.bridge_process import bridge_process
from tests.browser import Visit, opened
from tests.e2e.web.houses import EVERYTHING, SUBJECTS, House, ScriptedHouse

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SHUT_AT_ONCE = """() => new MutationObserver(() => dispatchEvent(new Event("drover-stranger")))
  .observe(document.getElementById("view"), { childList: true, subtree: true })"""
"""The page is told that it may not go on whenever anything on it has changed."""


WORDED = """async () => {
  const { moment, sentence } = await import(`/ui/${JSON.parse(document.body.dataset.boot).edition}/core/format.js`);
  const told = ["key k may ask 3 times", "broken.pdf: it can't be read", "max_tokens: it is no number"];
  return [...told.map(sentence), moment(new Date(2020, 0, 2, 15, 4, 5) / 1000)];
}"""
"""How refusals and times are told: with a capital, but for what has one way to be written; and one way for all times."""


async def _status(url: str, secret: str) -> int:
    """Give what a bridge answers to who shows this."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
        return (await http.get("/api/v1/session", headers={"authorization": f"Bearer {secret}"})).status_code


async def _secret(page: Page) -> str:
    """Read the secret that is shown, copy it, and close its dialog, by what says that it is kept: it is nowhere then."""
    shown = page.locator("code.secret")
    secret = str(await shown.text_content())
    await expect(page.get_by_text("It is shown this once")).to_be_visible()
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    for _ in range(2):  # a browser asks a page once whether it may close a dialog
        await page.keyboard.press("Escape")
        await expect(shown).to_be_visible()
    await page.get_by_role("button", name="I have kept it").click()
    await expect(shown).to_have_count(0)
    assert secret not in await page.content()
    return secret


async def _made(visit: Visit) -> tuple[str, Locator]:
    """Make a key; a budget that is none is refused at its field, and what was written elsewhere stays. Two presses on a slow link
    make one."""
    page = visit.page
    asked, pressed = list[Route](), asyncio.Event()

    async def slowly(route: Route) -> None:
        asked.append(route)
        await pressed.wait()
        await route.continue_()

    await page.get_by_role("button", name="New key").click()
    await page.get_by_label("Name").fill("anna")
    await page.get_by_role("checkbox", name="route").check()
    await page.get_by_label("Budgets").fill("5000 apples/day")
    await page.get_by_role("button", name="Keep").click()
    await expect(page.locator("label", has_text="Budgets").get_by_role("alert")).to_contain_text(
        "5000 apples/day is no budget"
    )
    await page.get_by_label("Budgets").fill("5000 tokens/day, 1.5 usd/month")
    await page.get_by_label("Requests a minute").fill("1000001")
    visit.welcome.append(r"/api/v1/keys: .* 400 ")
    await page.get_by_role("button", name="Keep").click()
    await expect(page.locator("label", has_text="Requests a minute").get_by_role("alert")).to_contain_text("1000000")
    await page.get_by_label("Requests a minute").fill("60")
    await page.get_by_label("Expires").fill("2099-12-31")
    await page.route("**/api/v1/keys", slowly)
    await page.get_by_role("button", name="Keep").dblclick()
    await page.get_by_role("button", name="Keep").click()
    pressed.set()
    await expect(page.locator("code.secret")).to_be_visible()
    assert len(asked) == 1
    return await _secret(page), page.get_by_role("row").filter(has_text="anna")


async def test_an_administrator_makes_changes_and_ends_keys(browser: Browser, house: House) -> None:
    """A secret is shown once, and lets in; another one ends it; what is revoked is asked about first, and then only listed with the
    ended. The page holds in every look, its table fits an ordinary window, and its form holds by keyboard."""
    url = await house.keyed()
    async with opened(browser, url, "/keys", key=await house.key(*EVERYTHING), permissions=["clipboard-read"]) as visit:
        page = visit.page
        await expect(page.get_by_role("heading", name="All keys")).to_be_visible()
        first, row = await _made(visit)
        copied = await page.evaluate("navigator.clipboard.readText()")
        await expect(row).to_contain_text("chat, route")
        bars = row.locator("meter")
        await expect(bars).to_have_count(2)
        used = [str(await one.get_attribute("aria-label")) for one in await bars.all()]
        faults = await visit.inspected("keys")
        await visit.seen_as("light", 1280, 850)
        beyond = await page.locator(".table").evaluate("(one) => one.scrollWidth - one.clientWidth")
        let_in = await _status(url, first)

        await row.get_by_role("button", name="anna").click()
        await page.get_by_role(
            "heading", name="Key anna"
        ).click()  # Tab goes on from there, not from the button behind it
        walk, barriers = await visit.walked(), await visit.barriers()
        await page.get_by_label("Requests a minute").fill("")
        await page.get_by_role("button", name="Keep").click()
        await expect(row.get_by_role("cell").nth(4)).to_have_text("")
        await expect(row.get_by_role("button", name="anna")).to_be_focused()

        await row.get_by_role("button", name="anna").click()
        await page.get_by_role("button", name="New secret", exact=True).click()
        await page.get_by_role("button", name="New secret", exact=True).click()
        second = await _secret(page)
        after = [await _status(url, first), await _status(url, second)]

        await row.get_by_role("button", name="anna").click()
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("It ends at once and for ever")).to_be_visible()
        await page.get_by_role("button", name="Revoke").click()
        await expect(row).to_have_count(0)
        await page.get_by_role("checkbox", name="Ended ones too").check()
        await expect(row).to_contain_text("revoked")
        await page.get_by_role("row").filter(has_text="admin").get_by_role("button").first.click()
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("This is the key that you use now: this page closes.")).to_be_visible()

    assert (faults, walk.faults, barriers, beyond) == ([], [], [], 0)
    assert copied == first
    assert [
        "1.5 usd/month: 0 usd spent, 0 usd set aside",
        "5000 tokens/day: 0 tokens spent, 0 tokens set aside",
    ] == sorted(re.sub(r"; anew (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d$", "", says) for says in used)
    assert (let_in, after, await _status(url, second)) == (200, [401, 200], 401)
    assert "checkbox read:fleet: see devices, and everybody's jobs" in walk.names


async def test_a_person_sees_their_own_key_and_no_other(browser: Browser, house: House) -> None:
    """Its limits, and what is spent and left of its budgets, in words; nobody else's key is on the page."""
    budgets = (Limit(unit=Unit.TOKENS, limit=5000, period=Period.DAY),)
    wanted = AddKey(name="berta", scopes=(Scope.CHAT,), models=("llama3*",), parallel=2, budgets=budgets)
    issued = await key_client.add(house.bus, SUBJECTS, wanted)
    async with opened(browser, await house.keyed(), "/keys", key=issued.secret) as visit:
        page = visit.page
        own = page.locator("section").filter(has=page.get_by_role("heading", name="Your key: berta"))
        await expect(own).to_contain_text("ask, and keep conversations")
        await expect(own).to_contain_text("llama3*")
        await expect(own.locator("dt", has_text="Logged in until").locator("+ dd")).to_have_text(
            re.compile(r"\d\d:\d\d:\d\d$")
        )
        await expect(own.locator("dt", has_text="Expires").locator("+ dd")).to_have_text("never")
        worded = await page.evaluate(WORDED)
        said = await own.locator("meter").get_attribute("aria-label")
        headings = await page.get_by_role("heading", level=2).all_text_contents()
        faults = await visit.barriers()

    assert str(said).startswith("5000 tokens/day: 0 tokens spent, 0 tokens set aside; anew ")
    assert "All keys" not in headings
    assert ["Key k may ask 3 times.", "broken.pdf: it can't be read.", "max_tokens: it is no number."] == worded[:3]
    assert "2020-01-02 15:04:05" == worded[3]
    assert faults == []


async def test_the_first_key_shuts_the_door_and_opens_it(browser: Browser, scripted: ScriptedHouse) -> None:
    """Where there is none the page says so; the first may manage keys unless somebody says otherwise, and after it the page offers
    to log in with it, and is let in. The door waits meanwhile, also where it was to open between the form and the secret."""
    settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "auto"}
    async with bridge_process(scripted.nats.url, **settings) as bridge, opened(browser, bridge.url, "/keys") as visit:
        page = visit.page
        await expect(page.get_by_text("The first key shuts it, for this page too")).to_be_visible()
        await page.get_by_role("button", name="New key").click()
        await page.get_by_label("Name").fill("owner")
        await expect(page.get_by_role("checkbox", name="admin")).to_be_checked()
        await expect(page.get_by_text("Without admin nobody could manage keys on this page any more")).to_be_visible()
        await page.evaluate(SHUT_AT_ONCE)
        await page.get_by_role("button", name="Keep").click()
        await expect(page.get_by_text("It is shown this once")).to_be_visible()
        doors = await page.locator("#door[open]").count()
        await page.get_by_role("button", name="Log in with it").click()
        await expect(page.get_by_role("heading", name="Your key: owner")).to_be_visible()
        async with httpx.AsyncClient(base_url=bridge.url, trust_env=False, timeout=20) as http:
            shut = (await http.get("/api/v1/keys")).status_code

    assert (doors, shut) == (0, 401)
