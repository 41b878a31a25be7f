"""The page around the views: by keyboard alone, in several tabs, and as a session comes and goes."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, Page, Route, expect

from common import key_client
from common.key_requests import AddKey
from common.keys import Scope
from dispatcher.bridge.pages.views import VIEWS
from tests.browser import barriers, opened, overflow
from tests.e2e.web.gateway import gateway
from tests.e2e.web.houses import DEVICES, SUBJECTS, House, ScriptedHouse

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

STREAM = "/ui/events"
MOST_STEPS = 60

EARLY = """new MutationObserver(() => { window.early ??= document.body === null; })
  .observe(document, { subtree: true, attributeFilter: ["data-theme"] });"""
"""Colours that are chosen before there is a body are those of the first paint."""

SEEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""A tab of a browser without a window is never hidden: it is told that it is."""

LEFT_TYPING = """async () => {
  const field = document.querySelector("#view [type=search]");
  field.value = "kelvin";
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => setTimeout(done));
  document.querySelector(".menu [data-view=fleet]").click();
}"""
"""The view has seen what was typed, and is left before it looks for that: a busy machine takes longer between two steps."""


async def test_every_view_is_reached_by_keyboard_and_none_asks_outside(
    browser: Browser, scripted: ScriptedHouse
) -> None:
    """From the link that skips the menu, which leaves the view as it is, through the menu to each of the ten: the focus is in the
    view then, its name in the window's title, and its link marked. In all of that nothing but the bridge is asked."""
    async with opened(browser, scripted.url, "/fleet") as visit:
        visit.welcome.append("/route/explain")  # nobody here tells of routes
        page = visit.page
        await expect(page.locator(".device").first).to_be_visible()
        await page.evaluate("window.stayed = document.querySelector('#view h1').dataset.mark = 'the same'")
        await page.keyboard.press("Tab")
        skip = await page.evaluate("document.activeElement.textContent")
        await page.keyboard.press("Enter")
        landed, same = await _focus(page), await page.locator("h1[data-mark]").count()
        reached = []
        for view in VIEWS:
            await _reach(page, f'.menu [data-view="{view.name}"]', "Shift+Tab")
            await page.keyboard.press("Enter")
            await expect(page).to_have_title(f"{view.title} · Drover")
            await expect(page.locator("#view h1")).to_have_text(view.title)
            current = await page.locator(".menu [aria-current=page]").all_text_contents()
            reached.append((page.url.removeprefix(scripted.url), current, await _focus(page)))
        await page.go_back()
        await expect(page.locator("#view h1")).to_have_text(VIEWS[-2].title)
        await page.go_forward()
        await expect(page.locator("#view h1")).to_have_text(VIEWS[-1].title)
        stayed = await page.evaluate("window.stayed")

    assert (skip, landed, same) == ("Skip to the page's content", True, 1)
    assert [(view.path, [view.title], True) for view in VIEWS] == reached
    assert (stayed, visit.outside) == ("the same", [])


async def test_single_keys_lead_to_views_until_they_are_turned_off(browser: Browser, scripted: ScriptedHouse) -> None:
    """`?` lists them, digits go to the views, `/` searches; none of them while one types, or behind a dialog. Turned off, only `?`
    is left, also after a reload. Escape closes the list, and the focus is where it was."""
    async with opened(browser, scripted.url, "/conversations") as visit:
        page, title = visit.page, visit.page.locator("#view h1")
        await expect(title).to_have_text("Conversations")
        await visit.settled()  # what is drawn hears keys a moment later
        await page.keyboard.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await page.keyboard.type("3?")
        typed = await page.get_by_role("searchbox").input_value()
        await page.get_by_role("button", name="Shortcuts").focus()
        await page.keyboard.press("?")
        listed = await page.get_by_role("dialog").locator("dd").all_text_contents()
        faults = await barriers(page)
        await page.keyboard.press("3")
        behind = await title.text_content()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Shortcuts")).to_be_focused()
        await page.keyboard.press("0")
        await expect(title).to_have_text(VIEWS[9].title)
        await page.keyboard.press("3")
        await expect(title).to_have_text("Fleet")
        await page.keyboard.press("?")
        await page.get_by_role("checkbox", name="Single keys").press("Space")
        await page.keyboard.press("Escape")
        await page.reload()
        await expect(page.locator(".device").first).to_be_visible()
        await page.keyboard.press("4")
        await page.keyboard.press("?")
        await expect(page.get_by_role("checkbox", name="Single keys")).not_to_be_checked()
        after = await title.text_content()

    assert {view.title for view in VIEWS} | {"This list", "Search, where there is something to search"} == set(listed)
    assert (typed, behind, after) == ("3?", "Conversations", "Fleet")
    assert faults == []


async def test_a_narrow_page_folds_its_menu_and_keeps_its_colours(browser: Browser, scripted: ScriptedHouse) -> None:
    """By keyboard the menu unfolds, leads on, and folds: Escape gives the focus back, and nothing that has it lies below. Colours
    that were chosen are there before anything is drawn, also after a reload, whatever the machine prefers."""
    async with opened(browser, scripted.url, "/keys", width=320) as visit:
        page = visit.page
        await page.add_init_script(EARLY)
        button, menu = page.get_by_role("button", name="Menu"), page.locator("#menu")
        await expect(page.locator("#standing-text")).to_have_text("2 devices ready")
        await _reach(page, "[popovertarget=menu]", "Tab")
        await page.keyboard.press("Enter")
        await expect(menu).to_be_visible()
        await visit.snap("shell-menu-320")
        faults = await barriers(page)
        await page.keyboard.press("Escape")
        await expect(button).to_be_focused()
        folded = await menu.is_visible()
        await page.keyboard.press("Enter")
        walk = await visit.walked()
        passed = await menu.is_visible()
        await _reach(page, "[popovertarget=menu]", "Tab")
        await page.keyboard.press("Enter")
        await _reach(page, ".theme select", "Tab")
        for _ in "light", "dark":
            await page.keyboard.press("ArrowDown")
        drawn = await _ground(page)
        await _reach(page, '.menu [data-view="latency"]', "Shift+Tab")
        await page.keyboard.press("Enter")
        await expect(page.locator("#view h1")).to_have_text("Latency")
        left = await menu.is_visible()
        await page.reload()
        await expect(page.locator("#view h1")).to_have_text("Latency")
        again, early = await _ground(page), await page.evaluate("window.early")
        await page.get_by_role("button", name="Menu").click()
        chosen = await page.get_by_label("Colours").input_value()

    assert (folded, passed, left, drawn, again) == (False, False, False, "rgb(18, 22, 21)", "rgb(18, 22, 21)")
    assert (chosen, early) == ("dark", True)
    assert (faults, walk.faults) == ([], [])


async def test_all_tabs_share_one_stream_and_none_is_open_while_nobody_looks(
    browser: Browser, scripted: ScriptedHouse
) -> None:
    """Two tabs, and views that come and go in them, make one connection. A tab that is hidden lets go of it after a rest, unless
    another one is seen; once it is seen again it is told anew, without a reload."""
    async with gateway(scripted.url) as door, opened(browser, door.url, "/fleet") as visit:
        page, standing = visit.page, visit.page.locator("#standing-text")
        await expect(standing).to_have_text("2 devices ready")
        other = await page.context.new_page()
        await other.clock.install()
        await other.goto(f"{door.url}/latency")
        await expect(other.locator("#standing-text")).to_have_text("2 devices ready")
        await other.get_by_role("link", name="Fleet").click()
        await expect(other.locator(".device")).to_have_count(2)
        both = (door.asked[STREAM], door.open[STREAM])
        await other.evaluate(SEEN, True)
        await other.clock.run_for(25_000)
        await page.close()
        await door.until(lambda: not door.open[STREAM])
        await scripted.fleet.beat("nano", DEVICES["nano"], temperature_c=71.0)
        await other.evaluate(SEEN, False)
        await expect(other.locator(".device").first).to_contain_text("71 °C")
        again = (door.asked[STREAM], door.open[STREAM])

    assert both == (1, 1)
    assert again == (2, 1)


async def test_a_session_that_ends_opens_the_door(browser: Browser, house: House) -> None:
    """By itself, on whatever view, when the key is revoked; behind another key the same view stands. Who logs out is asked again.
    The door, and a view that is not for this key, are well in every look."""
    url = await house.keyed()
    issued = await key_client.add(house.bus, SUBJECTS, AddKey(name="leaver", scopes=(Scope.CHAT, Scope.FLEET)))
    async with opened(browser, url, "/latency", key=issued.secret) as visit:
        visit.welcome.append(" 40[13] ")
        page, door = visit.page, visit.page.locator("#door")
        await expect(page.locator("#standing-text")).to_have_text("3 devices ready")
        shut = await door.is_visible()
        await key_client.revoke(house.bus, SUBJECTS, issued.grant.key)
        await expect(door).to_be_visible()
        faults = await visit.inspected("shell-door")
        await page.keyboard.press("Escape")
        await page.get_by_label("Key", exact=True).fill(await house.key(Scope.CHAT))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Latency is not for this key")).to_be_visible()
        why = await page.locator("#view").inner_text()
        faults += await barriers(page)
        async for look in visit.every_look():
            await visit.snap(f"shell-refused-{look}")
            faults += await overflow(page)
        offered = await page.locator(".menu [data-view]").all_text_contents()
        await page.get_by_role("button", name="Log out").click()
        await expect(door).to_be_visible()
        left = await page.locator(".menu [data-view]").count()

    assert (shut, left) == (False, 0)
    assert "lacks the scope read:fleet" in why
    assert offered == ["Chat", "Compare", "Conversations", "Activity", "Keys and limits"]
    assert faults == []


async def test_no_view_stands_under_the_address_of_another(browser: Browser, scripted: ScriptedHouse) -> None:
    """While a view is on its way the one before is gone, and writes nothing into its address, as a search would that was typed
    last; who goes back meanwhile is there. Out of a dialog Back leads past all that it lay over."""
    may_come = asyncio.Event()

    async def held(route: Route) -> None:
        await may_come.wait()
        await route.continue_()

    async with opened(browser, scripted.url, "/conversations", service_workers="block") as visit:
        visit.welcome.append("Service Worker registration blocked")
        page, title, loading = visit.page, visit.page.locator("#view h1"), visit.page.locator("#view > .loading")
        await page.route("**/views/fleet.js", held)
        await expect(page.get_by_role("searchbox")).to_be_visible()
        await page.evaluate(LEFT_TYPING)
        await expect(loading).to_have_text("Fleet is being read")
        await page.evaluate("() => new Promise((done) => setTimeout(done, 300))")  # behind the timer of the search
        under = page.url
        await page.go_back()
        await expect(title).to_have_text("Conversations")
        back = page.url
        await page.go_forward()
        await expect(loading).to_have_text("Fleet is being read")
        may_come.set()
        await expect(title).to_have_text("Fleet")
        await page.get_by_role("link", name="nano", exact=True).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.evaluate("history.go(-2)")
        await expect(title).to_have_text("Conversations")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page).to_have_title("Conversations · Drover")

    assert (under, back) == (f"{scripted.url}/fleet", f"{scripted.url}/conversations")


async def test_back_stands_where_one_was(browser: Browser, scripted: ScriptedHouse) -> None:
    """In a list that is read anew, also when that takes a while, and in what was asked for below it; a view that is opened begins
    at its top."""
    may_come = asyncio.Event()

    async def held(route: Route) -> None:
        await may_come.wait()
        await route.continue_()

    async with opened(browser, scripted.url, "/keys") as visit:
        page, title, kept = visit.page, visit.page.locator("#view h1"), f"{scripted.url}/api/v1/conversations"
        for number in range(25):
            await page.context.request.post(kept, data={"title": f"Plan {number}"})
        await page.get_by_role("link", name="Conversations").click()
        await page.get_by_role("button", name="Earlier ones").click()
        card = page.get_by_role("link", name="Plan 1", exact=True)
        await card.evaluate("(card) => card.scrollIntoView({ block: 'center' })")
        await visit.settled()
        stood = await page.evaluate("scrollY")
        await card.click()
        await expect(title).to_have_text("Chat")
        await page.route("**/api/v1/conversations*", held)
        await page.go_back()
        await expect(page.locator("#view .loading")).to_be_visible()
        may_come.set()
        await expect(card).to_be_in_viewport()
        await page.wait_for_function("(stood) => Math.abs(scrollY - stood) < 2", arg=stood)
        await page.get_by_role("link", name="Fleet").click()
        await expect(title).to_have_text("Fleet")
        await page.wait_for_function("() => scrollY === 0")
        await page.go_back()
        await expect(card).to_be_in_viewport()
        await page.wait_for_function("(stood) => Math.abs(scrollY - stood) < 2", arg=stood)

    assert stood > 1000


async def _reach(page: Page, wanted: str, key: str) -> None:
    """Press a key until the focus is where it should be."""
    for _ in range(MOST_STEPS):
        await page.keyboard.press(key)
        if await page.evaluate("(wanted) => document.activeElement.matches(wanted)", wanted):
            return
    raise AssertionError(f"{key} does not lead to {wanted}")


async def _focus(page: Page) -> bool:
    """Tell whether the focus is in the view."""
    return bool(await page.evaluate("document.querySelector('#view').contains(document.activeElement)"))


async def _ground(page: Page) -> str:
    return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
