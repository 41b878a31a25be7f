"""The view of conversations: they are found, renamed, taken away and forgotten, and lead back into the chat."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import APIRequestContext, Browser, expect

from common import codec
from common.keys import Scope
from tests.browser import STILL, barriers, opened
from tests.e2e.web.houses import House, ScriptedHouse

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ALL = "/api/v1/conversations"
XSS = "<img src=x onerror=alert(1)> " + "w" * 120
LEDGER_AWAY = {"error": {"message": "no ledger answers: start one with drover ledger", "code": "ledger", "param": None}}


@pytest_asyncio.fixture(loop_scope="session")
async def talks(browser: Browser, scripted: ScriptedHouse) -> list[str]:
    """Keep two that were asked something, the older by a title that no page may run, and twenty newer ones; gives the two."""
    context = await browser.new_context(base_url=scripted.url)
    try:
        return await _kept(context.request)
    finally:
        await context.close()


async def test_conversations_are_found_and_looked_after(
    browser: Browser, scripted: ScriptedHouse, talks: list[str], tmp_path: Path
) -> None:
    """All are there, a page at a time; a search finds words in their turns, stands in the address, and leads to the turn; Back has
    it in its field again. Titles are text. After each order the focus is where one goes on."""
    async with opened(browser, scripted.url, "/conversations") as visit:
        page = visit.page
        cards, announced, search = page.locator(".talks li"), page.locator("#announce"), page.get_by_label("Search")
        focus = "document.activeElement.textContent"
        await expect(cards).to_have_count(20)
        faults, walk = await visit.inspected("conversations"), await visit.walked()
        dated = await cards.locator(".note").all_inner_texts()
        await page.get_by_role("button", name="Earlier ones").press("Enter")
        await expect(cards).to_have_count(22)
        await expect(page.get_by_role("button", name="Earlier ones")).to_be_hidden()
        after_more = await page.evaluate(focus)

        await search.press_sequentially("kelvin there")
        # Who types slowly is told of what is found before the last word, too.
        await expect(page).to_have_url(f"{scripted.url}/conversations?q=kelvin+there")
        await expect(cards).to_have_count(1)
        await expect(announced).to_have_text("Found: 1")
        found = await cards.locator("a").first.get_attribute("href")
        await page.get_by_role("link", name="Conversations", exact=True).click()
        await expect(search).to_have_value("")
        await expect(cards).to_have_count(20)
        await page.go_back()
        await expect(search).to_have_value("kelvin there")
        await expect(cards).to_have_count(1)
        await page.get_by_role("button", name=f"Rename {XSS}").press("Enter")
        await page.get_by_label("Title").fill("Heat & cold")
        await page.keyboard.press("Enter")
        await expect(cards.locator(".title")).to_have_text(["Heat & cold"])
        after_rename = await page.evaluate(focus)
        async with page.expect_download() as taken:
            await page.get_by_role("link", name="JSON of Heat & cold").click()
        path = tmp_path / "taken.json"
        await (await taken.value).save_as(path)

        await page.get_by_role("button", name="Forget Heat & cold").press("Enter")
        faults += await barriers(page)
        await page.get_by_role("button", name="Forget it").press("Enter")
        await expect(page.locator(".empty")).to_have_text("No conversation has all of these words.")
        await expect(search).to_be_focused()
        await search.fill("")
        await expect(cards).to_have_count(20)
        await expect(page).to_have_url(f"{scripted.url}/conversations")
        await page.get_by_role("button", name="Forget all").press("Enter")
        await page.get_by_role("dialog").get_by_role("button", name="Forget all").press("Enter")
        await expect(page.locator(".empty")).to_contain_text("Nothing is kept yet")
        await expect(announced).to_have_text("21 forgotten")

    told = codec.decode(path.read_bytes())
    assert found is not None
    assert found.startswith(f"/?c={talks[0]}&turn=")
    assert all(re.match(r"\d\d:\d\d:\d\d · 0 turns$", one) for one in dated[:19])
    assert (after_more, after_rename) == ("What is ohm?", "Rename Heat & cold")
    assert told["conversation"]["title"] == "Heat & cold"
    assert [turn["message"]["content"] for turn in told["turns"]] == ["What is kelvin?", "Hello there!"]
    assert (faults, walk.faults) == ([], [])


async def test_who_has_a_key_is_told_where_the_rest_is(browser: Browser, house: House) -> None:
    """What was said before there were keys is not lost: the command that brings it back is named."""
    async with opened(
        browser, await house.keyed(), "/conversations", key=await house.key(Scope.CHAT, Scope.FLEET)
    ) as visit:
        await expect(visit.page.locator(".empty")).to_contain_text("drover keys adopt NAME")


async def test_a_ledger_that_is_away_is_told(browser: Browser, scripted: ScriptedHouse) -> None:
    """In the bridge's own words, with another try; what is read then stands there."""
    async with opened(browser, scripted.url, STILL) as visit:
        visit.welcome += ["503", "offline"]
        page = visit.page
        await page.route(f"**{ALL}*", lambda route: route.fulfill(status=503, json=LEDGER_AWAY), times=1)
        await page.goto(f"{scripted.url}/conversations?q=none")
        await expect(page.get_by_role("alert")).to_contain_text("No ledger answers: start one with drover ledger.")
        faults = await barriers(page)
        await page.get_by_role("button", name="Try again").click()
        await expect(page.locator(".empty")).to_contain_text("No conversation has all of these words.")

    assert faults == []


async def _kept(http: APIRequestContext) -> list[str]:
    """Have conversations begun, the oldest first; gives the ids of those that were asked something."""
    await http.delete(f"{ALL}?confirm=all")
    asked = []
    for prompt in ("What is kelvin?", "What is ohm?"):
        body = {"prompt": prompt, "conversation_id": "new"}
        asked.append((await http.post("/api/v1/chat", data=body)).headers["x-drover-conversation"])
    await http.patch(f"{ALL}/{asked[0]}", data={"title": XSS})
    for number in range(20):
        await http.post(ALL, data={"title": f"Plan {number}"})
    return asked
