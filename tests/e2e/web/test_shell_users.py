"""The page as its users change: what one was told, typed and chose, and the next one who comes in."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Browser, Dialog, Page, Route, expect

from common import key_client
from common.key_requests import AddKey
from common.keys import Scope
from tests.browser import HANG_S, opened
from tests.e2e.web.houses import SUBJECTS, House

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SHOWN_ONCE = """() => {
  const dialog = document.body.appendChild(Object.assign(document.createElement("dialog"), { open: true }));
  dialog.appendChild(document.createElement("p")).dataset.first = "";
}"""
"""As a new key's secret stands there: the door waits for it."""

KEYS = 'document.querySelector("[data-view=keys]").click()'

SHOWN_ONCE_IS_READ = """() => {
  history.replaceState(null, "", "/fleet?device=nano");
  document.querySelector("dialog:has([data-first])").remove();
}"""


async def test_what_one_user_was_told_and_typed_is_not_for_the_next(browser: Browser, house: House) -> None:
    """The key of one ends: each tab asks for another, with nothing behind, also where a device's history was open, and however
    often one presses Escape. Another user comes in by one tab: the others follow. Jobs, devices and drafts of the first are
    gone."""
    url = await house.keyed()
    first = await key_client.add(house.bus, SUBJECTS, AddKey(name="one", user="one", scopes=(Scope.CHAT, Scope.FLEET)))
    second = await key_client.add(house.bus, SUBJECTS, AddKey(name="two", user="two"))
    async with opened(browser, url, "/", key=first.secret) as visit:
        visit.welcome.append(" 40[13] ")
        page, wall = visit.page, await visit.page.context.new_page()
        await page.get_by_label("Your message").fill("for my eyes alone")
        await wall.goto(f"{url}/fleet?device=nano")
        await expect(wall.locator("dialog[open] #sheet-title")).to_contain_text("nano")
        await expect(wall.locator("#standing-text")).to_have_text("3 devices ready")  # the stream tells
        job = await _asked(url, first.secret)
        await wall.evaluate(SHOWN_ONCE)
        await page.get_by_role("link", name="Activity").click()
        await expect(page.locator(f'#view [href$="{job}"]')).to_be_visible()
        await key_client.revoke(house.bus, SUBJECTS, first.grant.key)
        await expect(page.locator("#door")).to_be_visible()
        await wall.evaluate(KEYS)
        await expect(wall.get_by_role("alert").first).to_contain_text(
            "You are logged out. Read the page anew, and come in with a key."
        )
        await wall.evaluate(SHOWN_ONCE_IS_READ)
        for tab in page, wall:
            await expect(tab.locator("#door")).to_be_visible()
            await expect(tab.locator("#view .page, .menu [data-view]")).to_have_count(0)
            for _ in range(3):
                await tab.keyboard.press("Escape")
            await expect(tab.locator("#door")).to_be_visible()
        await _come_in(page, second.secret)
        await expect(page.get_by_text("No job fits.")).to_be_visible()
        await expect(wall.get_by_role("heading", name="Fleet is not for this key")).to_be_visible()
        await page.get_by_role("link", name="Chat").click()
        await expect(page.get_by_label("Your message")).to_have_value("")
        kept = await page.evaluate("JSON.stringify(sessionStorage)")

    assert "for my eyes alone" not in kept


async def test_who_logs_out_leaves_nothing_of_what_was_typed(browser: Browser, house: House) -> None:
    """Where the bridge can't be reached the session goes on, and the page says so; else all tabs show the door, and nothing behind
    it. What was typed is gone in all of them, and the colours stay: also where the stream tells that the session is over before the
    answer comes, and where an answer to a question would end with the page: nobody is asked whether to stay."""
    url = await house.keyed()
    secret = await house.key(Scope.CHAT)
    async with opened(browser, url, "/", key=secret) as visit:
        visit.welcome += [" 401 ", "ERR_"]
        page, other = visit.page, await visit.page.context.new_page()
        questions: list[str] = []

        async def stay(dialog: Dialog) -> None:
            questions.append(dialog.type)
            await dialog.dismiss()

        page.on("dialog", stay)
        await other.goto(f"{url}/compare")
        await other.get_by_label("One question to all of them").fill("typed to compare")
        await other.get_by_role("link", name="Keys and limits").click()
        await expect(other.get_by_role("heading", name="Your key")).to_be_visible()
        await other.evaluate("sessionStorage.setItem('drover-draft', 'typed in another tab')")
        await page.get_by_label("Your message").fill("for my eyes alone")
        await page.get_by_label("Colours").select_option("dark")
        await page.route("**/api/v1/session", lambda route: route.abort())
        await page.get_by_role("button", name="Log out").click()
        await expect(page.locator("#stayed")).to_have_text(
            "The bridge can't be reached. Check that Drover runs, then try again."
        )
        here = await page.get_by_label("Your message").input_value()
        await page.unroute("**/api/v1/session")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.locator("#door")).to_be_visible()
        await expect(other.locator("#door")).to_be_visible()
        for tab in page, other:
            await expect(tab.locator("#view .page, .menu [data-view]")).to_have_count(0)
        kept = [await tab.evaluate("JSON.stringify({ ...sessionStorage, ...localStorage })") for tab in (page, other)]
        await _come_in(page, secret)
        await expect(page.get_by_label("Your message")).to_have_value("")
        await expect(page.get_by_label("Colours")).to_have_value("dark")
        await expect(other.get_by_role("heading", name="Your key")).to_be_visible()
        await page.route("**/api/v1/chat", lambda _: None)  # it stays on its way
        await page.get_by_label("Your message").fill("for my eyes again")
        await page.keyboard.press("Enter")
        await expect(page.locator(".waiting")).to_be_visible()

        async def told_late(route: Route) -> None:
            answer = await route.fetch()
            await expect(other.locator("#door")).to_be_visible()
            await route.fulfill(response=answer)

        await page.route("**/api/v1/session", told_late)
        await page.get_by_role("button", name="Log out").click()
        await expect(page.locator("#door")).to_be_visible()
        kept += [await tab.evaluate("JSON.stringify({ ...sessionStorage })") for tab in (page, other)]
        colours = await page.evaluate("localStorage.getItem('drover-theme')")

    assert (here, colours, questions) == ("for my eyes alone", "dark", [])
    assert [] == [one for one in kept if "eyes" in one or "typed" in one]


async def _asked(url: str, secret: str) -> str:
    """Have a user's question answered, so that a stream tells that it is; gives its job."""
    asked = {"model": "auto", "messages": [{"role": "user", "content": "Whose job is this?"}], "max_tokens": 4}
    async with httpx.AsyncClient(trust_env=False, timeout=HANG_S) as http:
        answer = await http.post(
            f"{url}/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {secret}"}
        )
    assert answer.status_code == 200, answer.text
    return answer.headers["x-drover-job"]


async def _come_in(page: Page, secret: str) -> None:
    await page.get_by_label("Key", exact=True).fill(secret)
    await page.keyboard.press("Enter")
