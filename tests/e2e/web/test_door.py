"""Who may come in, and the description of the API: in a real browser, without internet access."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from common.keys import Scope
from tests.browser import opened
from tests.e2e.web.chats import welcomed
from tests.e2e.web.houses import House, ScriptedHouse

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_whoever_has_a_key_comes_in(browser: Browser, house: House) -> None:
    """Where keys are needed the page asks for one, says why it is refused, and needs it once: the session is no script's. What an
    answer was worth can be said and taken back: that is told once, and the button says that it is pressed. After a reload
    the record of its job tells what it took."""
    url = await house.keyed()
    secret = await house.key(Scope.CHAT)
    async with opened(browser, url) as visit:
        welcomed(visit).welcome.append(r" 401 ")
        page = visit.page
        await page.get_by_label("Key", exact=True).fill("dr_nobody")
        await page.get_by_role("button", name="Come in").click()
        await expect(page.get_by_role("alert")).to_contain_text("no key of Drover's")
        await page.get_by_label("Key", exact=True).fill(secret)
        await page.get_by_role("button", name="Come in").click()
        await expect(page.get_by_label("Your message")).to_be_visible()
        await expect(page.locator("#door")).to_be_hidden()
        await page.get_by_label("Your message").fill("hi")
        await page.get_by_label("Your message").press("Enter")
        await expect(page.locator(".route")).to_be_visible()
        thumb = page.get_by_role("button", name="Good answer")
        await thumb.click()
        await expect(page.locator("#announce")).to_have_text("Thanks: thumb up")
        await expect(thumb).to_have_attribute("aria-pressed", "true")
        await thumb.click()
        await expect(page.locator("#announce")).to_have_text("Your thumb is taken back")
        await expect(thumb).to_have_attribute("aria-pressed", "false")
        await page.reload()
        await page.locator(".route summary").click()
        for fact in ("ttft", "tps", "energy", "simulated"):
            await expect(page.locator(f"[data-fact={fact}]")).to_be_visible()
        kept = await page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")

        assert secret not in kept


async def test_the_api_s_description_works_offline(browser: Browser, scripted: ScriptedHouse) -> None:
    """`/docs` shows the chat route, asking nothing of any other host."""
    async with opened(browser, scripted.url, "/docs") as visit:
        await expect(visit.page.locator(".opblock-summary-path").first).to_contain_text("completions")
