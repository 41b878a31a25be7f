"""What the hungriest views ask again and again, beside the bench that acts like them (`dispatcher.lab.speed.door.pages`)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.async_api import Browser, Page, Request, expect

from dispatcher.lab.speed.door.pages import energy_asks, latency_asks
from tests.browser import opened
from tests.e2e.web.houses import House

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

Kind = tuple[str, dict[str, str]]


async def test_the_bench_asks_what_the_views_ask(browser: Browser, house: House) -> None:
    """The same paths with the same parameters, and no others."""
    # From a view that asks nothing; then the one that waits longest until it asks again: what is asked is the next one's.
    async with opened(browser, house.url, "/fleet", width=1280) as visit:
        await expect(visit.page.locator(".device").first).to_be_visible()
        energy = await _asked(visit.page, "Energy and cost", len(energy_asks()))
        latency = await _asked(visit.page, "Latency", len(latency_asks()))

    assert latency == _kinds(latency_asks())
    assert energy == _kinds(energy_asks())


async def _asked(page: Page, view: str, first: int) -> list[Kind]:
    """Open a view, and give what it asks until that was answered, and so many at least."""
    answered: dict[str, None] = {}  # what is asked again in the same words is the same

    def hear(request: Request) -> None:
        if "/api/" in request.url:
            answered[request.url] = None

    page.on("requestfinished", hear)
    async with page.expect_event("requestfinished", lambda _: len(answered) >= first):
        await page.get_by_role("link", name=view, exact=True).click()
    await expect(page.locator("#view .loading")).to_have_count(0)
    page.remove_listener("requestfinished", hear)
    return _kinds(answered)


def _kinds(addresses: Iterable[str]) -> list[Kind]:
    """Give paths with their parameters, in one order; which time is asked for is left out."""
    found = [urlsplit(address) for address in addresses]
    return sorted(
        ((url.path, {name: "" if "unix" in name else value for name, value in parse_qsl(url.query)}) for url in found),
        key=str,
    )
