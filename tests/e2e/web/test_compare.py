"""The view that compares: one question to several devices at once, what their answers differ in, and a vote that is counted."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import APIRequestContext, Browser, Page, Request, expect

from common import errors
from tests.browser import HANG_S, opened
from tests.e2e.web.houses import POLL_S, House, ScriptedHouse
from tests.scripted_fleet import ScriptedJob

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LONG = "words " * 250
WRITES = re.compile(r"^orin writes( · \d+ s)?$")

FADE = """() => {
  const line = document.querySelector(".answers .waiting");
  const room = line.getBoundingClientRect().top - line.previousElementSibling.getBoundingClientRect().bottom;
  return [parseFloat(getComputedStyle(line, "::after").height), room];
}"""
"""How high the shade is that a text which goes on fades into, and how much room is below its end, in pixels."""


async def test_answers_are_compared_and_a_vote_is_counted(browser: Browser, house: House) -> None:
    """Two devices stand there to begin with, and one more may come: connections are few. Each is asked for real, without the cache;
    times, speed and joules stand side by side. A vote is kept, may be changed, and counts among experiments; all of it stays
    meanwhile, and after a reload. The address tells who is compared, and not what is asked."""
    asked: list[Request] = []
    async with opened(browser, house.url, "/compare") as visit:
        page = visit.page
        page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
        await expect(page.get_by_label("Model of B")).to_have_value("auto@orin")
        await page.get_by_role("button", name="Add one").press("Enter")
        await page.get_by_label("Strategy of C").select_option("perf")
        await expect(page.get_by_role("button", name="Add one")).to_have_count(0)
        await page.get_by_role("button", name="Leave out B").press("Enter")
        await page.get_by_label("One question to all of them").fill("Which of you is faster?")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="None is better")).to_be_visible()
        said = await page.locator("#announce").inner_text()
        table = await page.get_by_role("region", name="Differences").inner_text()
        faults, walk = await visit.inspected("compare"), await visit.walked()
        jobs = [await one.get_attribute("href") for one in await page.locator(".job a").all()]
        await _recorded(page.context.request, house.url, [str(one).rpartition("=")[2] for one in jobs])
        await page.get_by_role("button", name="A is better").press("Enter")
        await expect(page.locator("#announce")).to_have_text("Your vote is kept")
        await expect(page.get_by_role("button", name="A is better")).to_have_attribute("aria-pressed", "true")
        await page.get_by_role("button", name="None is better").press("Enter")
        await expect(page.get_by_role("button", name="None is better")).to_have_attribute("aria-pressed", "true")
        await page.locator(".vote").get_by_role("link", name="Experiments").click()
        await page.get_by_label("Strategy", exact=True).check()
        await expect(page.get_by_role("region", name="Votes")).to_contain_text("perf")
        await expect(page).to_have_url(f"{house.url}/experiments?by=strategy")
        await page.go_back()
        await page.reload()
        await expect(page.locator(".answers .card [data-fact=device]")).to_have_count(2)
        await expect(page.get_by_role("button", name="None is better")).to_have_attribute("aria-pressed", "true")
        question = await page.get_by_label("One question to all of them").input_value()

    chats = [one.post_data_json for one in asked if one.url.endswith("/chat")]
    votes = [one.post_data_json for one in asked if one.url.endswith("/votes")]
    assert said == "All answers are here"
    assert (question, page.url) == ("Which of you is faster?", f"{house.url}/compare?sides=auto%40nano%2Cauto+perf")
    assert [(one["model"], one.get("strategy"), one["cache"]) for one in chats] == [
        ("auto@nano", None, "off"),
        ("auto", "perf", "off"),
    ]
    assert {one.headers["cache-control"] for one in asked if one.url.endswith("/chat")} == {"no-cache"}
    assert all(word in table for word in ("Time to first token", "Time in all", "Speed", "Energy", "best", "estimated"))
    assert not any(word in table for word in ("undefined", "NaN", "Infinity", " 1.0 "))
    assert [one["winner"] for one in votes] == [votes[0]["jobs"][0], None]
    assert (faults, walk.faults) == ([], [])
    assert {"combobox Model of A", "combobox Strategy of B", "group Text of A", "button B is better"} <= set(walk.names)


async def test_answers_grow_side_by_side_and_end_as_they_may(browser: Browser, scripted: ScriptedHouse) -> None:
    """Those of the address are asked. One breaks off, and says why; another is stopped, and its device is told; a reload
    does so too, and leaves what they said. What has no two whole answers has no vote, and is announced as such. The longer of two
    texts scrolls on where the shorter has ended."""
    seen = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route(str(job.request["device"]))
        if job.request["device"] == "nano":
            await job.token(LONG)
            await job.fail(errors.DeviceLost("nano is lost"))
        else:
            await job.token(LONG + LONG)
            await job.stay(seen, "decode")

    scripted.fleet.script = script
    async with opened(browser, scripted.url, "/compare?sides=auto@nano,auto@orin+perf") as visit:
        # A reload hangs up, which may have cancelled the job before the page that comes orders it.
        visit.welcome.append(r"/api/v1/jobs/\w+: .* 404 ")
        page = visit.page
        await expect(page.get_by_label("Model of B")).to_have_value("auto@orin")
        await expect(page.get_by_label("Strategy of B")).to_have_value("perf")
        await page.get_by_label("One question to all of them").fill("Go on")
        await page.get_by_role("button", name="Ask all").click()
        await expect(page.locator(".card").first.get_by_role("alert")).to_contain_text("Nano is lost")
        await expect(page.locator(".card .waiting")).to_have_text([WRITES])
        await page.locator(".text").first.hover()
        ends = await _scrolled(page)
        hidden = await page.evaluate(FADE)
        await page.get_by_role("button", name="Stop all").click()
        await expect(page.locator(".card").last).to_contain_text("Stopped.")
        await expect(page.locator("#announce")).to_have_text("0 of 2 answers are here")
        async with asyncio.timeout(HANG_S):
            cancelled = await scripted.fleet.cancels.get()
        seen.set()
        jobs = {
            job.request["device"]: job.id for job in (await scripted.fleet.jobs.get(), await scripted.fleet.jobs.get())
        }
        seen.clear()
        await page.get_by_role("button", name="Ask all").click()
        await expect(page.locator(".card .waiting")).to_have_text([WRITES])
        await page.reload()
        await expect(page.locator(".card").first.get_by_role("alert")).to_contain_text("Nano is lost")
        await expect(page.locator(".card").last).to_contain_text(
            re.compile(r"words\s+(Stopped|The answer broke off)"), use_inner_text=True
        )
        async with asyncio.timeout(HANG_S):
            again = await scripted.fleet.cancels.get()
        seen.set()
        buttons = await page.locator("#view button").all_inner_texts()
        await visit.snap("compare-ended", whole=True)

    assert cancelled == jobs["orin"]
    assert again != cancelled
    assert buttons == ["Ask all", "Add one"]
    assert ends == [True, True]
    assert hidden == pytest.approx([32, 32], abs=1)


async def _scrolled(page: Page) -> list[bool]:
    """Scroll the longer text to its end by keyboard; gives whether each is at its own then."""
    longer = page.get_by_label("Text of B")
    await expect(longer).to_contain_text((LONG + LONG).strip())
    await longer.focus()
    await page.keyboard.press("End")
    at_end = "(all) => all.map((one) => Math.abs(one.scrollHeight - one.clientHeight - one.scrollTop) < 2)"
    texts = page.locator(".text")
    async with asyncio.timeout(HANG_S):
        while not all(ends := await texts.evaluate_all(at_end)):  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(POLL_S)
    return list(ends)


async def _recorded(http: APIRequestContext, url: str, jobs: list[str]) -> None:
    """Return when the ledger knows these jobs: it writes them a moment after their end."""
    async with asyncio.timeout(HANG_S):
        while True:
            known = {one["job"] for one in (await (await http.get(f"{url}/api/v1/jobs")).json())["jobs"]}
            if known >= set(jobs):
                return
            await asyncio.sleep(POLL_S)
